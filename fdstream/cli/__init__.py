"""The command line. `main` is the program; `base` and `options` are what its commands are made of."""

from fdstream.cli._main import main

__all__ = ["main"]
