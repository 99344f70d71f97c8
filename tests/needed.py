"""Programs that tests need and no library brings: without them a test is skipped, and fails where CI is root."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(package: str, *programs: str) -> pytest.MarkDecorator:
    """A mark: skip where one of the programs of a Debian package is missing.

    Root could have installed it, so in CI (`CI=true`) its absence fails the module, and nothing is skipped unseen.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    reason = f"needs {', '.join(missing)}: apt-get install {package}"
    if missing and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"{reason} (.ci/run does)", pytrace=False)
    return pytest.mark.skipif(bool(missing), reason=reason)
