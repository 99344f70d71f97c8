"""The head of what an evaluation writes: what it was made on."""

from __future__ import annotations

from fdstream.stress.machine import about

__all__ = ["about", "report"]


def report(title: str, text: str, head: list[str], rows: list[list[str]]) -> str:
    """A page of Markdown: what was asked, on which machine, and a table."""
    facts = "\n".join(f"- {name}: {value}" for name, value in about().items())
    table = [head, ["---:"] * len(head), *rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return f"# {title}\n\n{text}\n\n{facts}\n\n{lines}\n"
