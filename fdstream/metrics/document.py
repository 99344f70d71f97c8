"""`python -m fdstream.metrics.document`: writes the table of all metrics into docs/metrics.md. Needs no library.

A test compares, so the document cannot fall behind the definitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fdstream.metrics.definitions import ALL, DEFINITIONS, Definition

BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def table(definitions: Iterable[Definition] = DEFINITIONS) -> str:
    """The table as Markdown, a line each."""
    lines = ["| metric | kind | labels | of | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, definitions), ""])


def written(document: str) -> str:
    """The document with today's table between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _line(each: Definition) -> str:
    labels = ", ".join(f"`{label}`" for label in each.labels)
    roles = "all" if each.roles == ALL else ", ".join(each.roles)
    notes = " (shared)" * each.shared + " (Kafka)" * each.only_kafka
    return f"| `{each.name}` | {each.kind} | {labels} | {roles}{notes} | {each.meaning} |"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
