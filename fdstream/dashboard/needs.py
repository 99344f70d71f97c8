"""Whether what serves the dashboard is installed, said before anything starts."""

from __future__ import annotations

from importlib.util import find_spec

from fdstream.errors import UsageError

PACKAGES = ("starlette", "uvicorn")


def check_installed() -> None:
    """Raises `UsageError` where packages are missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"the dashboard needs {', '.join(missing)}: pip install 'fdstream[dashboard]'")
