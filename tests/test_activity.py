"""The line about what goes on, as it stands on the screen of a real terminal, and elsewhere."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from fdstream.activity import Activity
from tests.terminal import COLUMNS, Terminal

SCRIPT = """
import logging, sys
from rich.console import Console
from fdstream import logs
from fdstream.activity import Activity

logs.setup("human", "info")
with Activity(Console(stderr=True)) as activity:
    for line in sys.stdin:
        match line.strip().split(" ", 1):
            case ["tell", what]:
                activity.tell(what)
            case ["count", what]:
                activity.tell(lambda: (what, "; 3 of 4"))
            case ["log", what]:
                logging.getLogger("fdstream").info(what)
            case ["print", what]:
                print(what)
            case ["clear"]:
                activity.tell(None)
            case ["end"]:
                break
print("after")
"""


def test_it_stands_below_what_is_said_and_is_gone_at_the_end() -> None:
    with Terminal(["-c", SCRIPT]) as terminal:
        terminal.type("tell looking around")
        terminal.wait_for("looking around, 0 s")
        assert terminal.hidden_cursor
        terminal.type("log something happened")
        terminal.type("print a result")
        terminal.wait_for("something happened")
        terminal.wait_for("a result")
        terminal.wait_for("looking around, 1 s")
        terminal.type("count training")
        terminal.wait_for("training, 0 s; 3 of 4")
        assert "training" in terminal.lines[-1], "below all that was said"
        assert sum("looking around, " in line for line in terminal.lines) == 0, "drawn over"
        terminal.type("tell " + "x" * 500)
        terminal.wait_for("x" * 80)
        assert sum("xxx" in line for line in terminal.lines) == 1, "one line, however much is told"
        assert max(map(len, terminal.lines)) < COLUMNS
        terminal.type("end")
        assert terminal.exit_code() == 0
        assert not terminal.hidden_cursor
        assert [line for line in terminal.lines if "info" in line or line in ("a result", "after")]
        assert terminal.lines[-1] == "after"
        assert not any("xxx" in line for line in terminal.lines)


def test_it_can_be_cleared_and_told_again() -> None:
    with Terminal(["-c", SCRIPT]) as terminal:
        terminal.type("tell one")
        terminal.wait_for("one, 0 s")
        terminal.type("clear")
        terminal.wait_until_gone("one, ")
        terminal.type("tell two")
        terminal.wait_for("two, 0 s")
        terminal.type("end")
        assert terminal.exit_code() == 0


def test_elsewhere_nothing_is_drawn() -> None:
    stream = StringIO()
    with Activity(Console(file=stream)) as activity:
        activity.tell("looking around")
    assert stream.getvalue() == ""


def test_text_of_others_cannot_move_the_cursor() -> None:
    with Terminal(["-c", SCRIPT.replace('"; 3 of 4"', r'"\x1b[2J\r; 3 of 4"')]) as terminal:
        terminal.type("log first")
        terminal.wait_for("first")
        terminal.type("count evil")
        terminal.wait_for(r"evil, 0 s\x1b[2J\r; 3 of 4")
        terminal.wait_for("first")
