"""The page's files, and the page as one file that needs nobody: style, script and data inside it.

There is no build step. The modules import names of each other and nothing else, so that each can become a function
that returns what it exports, in the order of their imports; tests hold them to it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ENTRY = "main"
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z_]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:function|const) (\w+))", re.MULTILINE)
_STYLE_LINK = '<link rel="stylesheet" href="static/style.css">'
_ICON_LINK = '<link rel="icon" href="static/icon.svg">'
_SCRIPT_LINK = '<script type="module" src="static/main.js"></script>'

LIVE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def names() -> frozenset[str]:
    """The files there are."""
    return frozenset(each.name for each in files(__package__).joinpath("static").iterdir())


@cache
def text(name: str) -> str:
    """A file's text; only of those in `names`."""
    return files(__package__).joinpath("static", name).read_text("utf-8")


@cache
def script() -> str:
    """All modules as one script."""
    parts: list[str] = []
    _collect(ENTRY, parts, set())
    return "\n".join(parts)


def _collect(name: str, parts: list[str], done: set[str]) -> None:
    """Add the module after those that it imports."""
    if name in done:
        return
    done.add(name)
    source = text(f"{name}.js")
    for _, imported in _IMPORT.findall(source):
        _collect(imported, parts, done)
    exported = ", ".join(found for _, found in _EXPORT.findall(source))
    body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = module_\2;", source))
    parts.append(f"const module_{name} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();")


def in_one_file(document: dict[str, Any]) -> str:
    """The page with this document in it. What others wrote stands there as JSON, in which no tag can end."""
    data = json.dumps(document, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    style, code = text("style.css"), script()
    policy = (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    icon = base64.b64encode(text("icon.svg").encode()).decode()
    changes = {
        _STYLE_LINK: f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>',
        _ICON_LINK: f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">',
        _SCRIPT_LINK: f'<script type="application/json" id="document">{data}</script>\n'
        f'<script type="module">{code}</script>',
    }
    page = text("index.html")
    for link, inside in changes.items():
        assert page.count(link) == 1, f"index.html has no {link}"
        page = page.replace(link, inside)
    return page


def _hash(source: str) -> str:
    """How a policy names an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"
