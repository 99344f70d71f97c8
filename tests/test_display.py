"""The table: plain lines where there is no terminal, and on one nothing that stays but the same lines."""

from __future__ import annotations

import io
import re
from contextlib import suppress

from rich.console import Console

from fdstream.display import Audience, Display
from fdstream.events import Tell
from fdstream.ledger import Phase
from fdstream.messages import GlobalEvaluated, Message
from fdstream.progress import heading
from tests.test_ledger import NONCE, closing, round_opened
from tests.test_progress import Watched, closed, report

TWO_ROUNDS: list[Message] = [
    message
    for number in (1, 2)
    for message in (round_opened(number), report("a", number), closing(number), closed(number, 0.5))
]


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=80, color_system=None), written


def numbers(text: str) -> list[str]:
    """The first word of each line."""
    return [line.split()[0] for line in text.splitlines()]


def test_without_a_terminal_a_round_is_a_plain_line_as_soon_as_it_is_complete() -> None:
    watched = Watched()
    out, written = console(terminal=False)
    with Display(out, watched.rounds) as display:
        display.tell("getting ready")
        display.say("ready")
        for message in TWO_ROUNDS:
            watched.fold(message)
            display.show()
        assert numbers(written.getvalue()) == ["ready", "round", "1"]
    assert numbers(written.getvalue()) == ["ready", "round", "1", "2"]
    assert heading() in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_on_a_terminal_the_same_lines_stay_and_the_rest_is_erased() -> None:
    watched = Watched()
    out, written = console(terminal=True)
    with Display(out, watched.rounds) as display:
        display.tell("getting ready")
        display.say("ready")
        display.tell(None)
        for message in TWO_ROUNDS:
            watched.fold(message)
            display.show()
    screen = drawn(written.getvalue())
    assert numbers(screen) == ["ready", "round", "1", "2"]
    assert "getting ready, 0 s" in written.getvalue()


def drawn(text: str) -> str:
    """What a terminal shows in the end, of text with the few controls that rich writes here."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9?;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.endswith("A"):
            row -= int(part[2:-1])
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith(("\x1b", "\r")):
            lines[row] = part
    return "\n".join(line for line in lines if line.strip())


def test_what_happened_before_an_error_is_shown() -> None:
    watched = Watched()
    out, written = console(terminal=False)
    with suppress(KeyboardInterrupt), Display(out, watched.rounds):
        for message in TWO_ROUNDS[:5]:
            watched.fold(message)
        raise KeyboardInterrupt
    assert numbers(written.getvalue())[-1] == "1"


def test_a_server_logs_what_it_tells_until_it_is_shown() -> None:
    logged: list[str] = []
    watched = Watched()
    out, written = console(terminal=False)
    audience = Audience(lambda tell: logged.append(tell.name))
    audience(Tell("round closed", {"record": closed(1, 0.5)}))
    ledger = watched.script.ledger
    with audience.show(ledger, out):
        for message in TWO_ROUNDS:
            ledger.fold(watched.script.entry(message))
            audience(Tell("phase", {"phase": Phase.COLLECTING, "round": 1}))
        audience(Tell("round closed", {"record": closed(2, 0.5)}))
        ledger.fold(watched.script.entry(GlobalEvaluated(NONCE, 3, {"accuracy": 0.75})))
    assert logged == ["round closed"] + ["phase"] * len(TWO_ROUNDS)
    first, second = written.getvalue().splitlines()[1:]
    assert first.split()[:5] == ["1", "3/3", "-", "50.0", "%"]
    assert second.split()[:4] == ["2", "3/3", "75.0", "%"]


def test_reports_that_a_server_tells_of_are_counted() -> None:
    watched = Watched()
    out, written = console(terminal=False)
    audience = Audience(lambda _: None)
    with audience.show(watched.script.ledger, out):
        for message in TWO_ROUNDS:
            if message == TWO_ROUNDS[1]:
                audience(Tell("report", {"outcome": "accepted", "report": message}))
            else:
                watched.script.ledger.fold(watched.script.entry(message))
                audience(Tell("phase", {}))
    assert written.getvalue().splitlines()[1].split()[-2] == "a"
