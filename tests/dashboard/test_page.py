"""The page's files obey what joins them, and a page in one file is whole and harmless."""

from __future__ import annotations

import json
import re

import pytest

from fdstream.dashboard import page

MODULES = sorted(name for name in page.names() if name.endswith(".js"))


def test_every_file_has_a_type() -> None:
    assert {"index.html", "style.css", "icon.svg", "main.js"} <= page.names()
    assert {f".{name.rpartition('.')[2]}" for name in page.names()} == set(page.TYPES)


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_and_export_in_the_one_way_that_can_be_joined(name: str) -> None:
    source = page.text(name)
    imports = re.findall(r"^import .*$", source, re.MULTILINE)
    assert all(re.fullmatch(r'import \{ [\w, ]+ \} from "\./[a-z_]+\.js";', line) for line in imports)
    exports = re.findall(r"^export .*$", source, re.MULTILINE)
    assert all(re.match(r"export (function|const) \w+", line) for line in exports)
    assert len(source.splitlines()) <= 450
    assert source.startswith("// "), "says first what it is for"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_can_turn_text_into_markup(name: str) -> None:
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http:",
        "https:",
    ):
        assert forbidden not in page.text(name).replace("http://www.w3.org/2000/svg", "")


def test_every_module_is_in_the_joined_script_once() -> None:
    script = page.script()
    for name in MODULES:
        assert script.count(f"const module_{name.removesuffix('.js')} = ") == 1
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


def test_a_page_in_one_file_names_no_other_file_and_holds_its_document() -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    text = page.in_one_file({"name": hostile})
    assert "static/" not in text
    assert hostile not in text
    (data,) = re.findall(r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data) == {"name": hostile}
