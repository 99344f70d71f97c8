"""`python -m fdstream`."""

from fdstream.cli import main

if __name__ == "__main__":
    main(prog_name="fdstream")
