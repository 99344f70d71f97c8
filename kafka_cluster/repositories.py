"""Where jars come from: Maven Central, or what the user's own Maven or jgo settings put in its place.

The address of Maven Central is jgo's. Proxies come from the environment (HTTPS_PROXY), passwords of a mirror
from ~/.netrc: both are requests' own doing.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL

from fdstream.errors import UsageError

CENTRAL = "central"


def repositories(maven_settings: Path | None = None) -> list[str]:
    """Base URLs to try in order. `maven_settings` defaults to the user's own, ~/.m2/settings.xml.

    A Maven mirror of `central` takes Central's place; jgo's `[repositories]` may replace it or add others.
    """
    urls: dict[str, str] = {CENTRAL: MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    mirror = _mirror_of_central(maven_settings or Path.home() / ".m2" / "settings.xml")
    return list((urls | ({CENTRAL: mirror} if mirror else {})).values())


def _mirror_of_central(path: Path) -> str | None:
    try:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the Maven settings in {path}: {error}; correct or move the file"
        ) from error
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        if _covers_central(mirror.findtext("{*}mirrorOf", "")):
            return mirror.findtext("{*}url", "").strip() or None
    return None


def _covers_central(mirror_of: str) -> bool:
    """Maven's own pattern language: names, `*`, `external:*` and `!name`, separated by commas."""
    patterns = {pattern.strip() for pattern in mirror_of.split(",")}
    return f"!{CENTRAL}" not in patterns and not patterns.isdisjoint({CENTRAL, "*", "external:*"})
