"""One check under atheris: `python -m tests.fuzz.guided CHECK [libFuzzer's options] CORPUS`."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["fdstream"]):
    from tests.fuzz.checks import CHECKS


def main() -> None:
    name, *options = sys.argv[1:]
    check = CHECKS[name]
    atheris.Setup([sys.argv[0], *options], lambda data: check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
