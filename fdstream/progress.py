"""How the rounds of a federation go, as people want to see it: facts in, lines of a table out.

`Rounds` keeps what is known of the rounds that are not complete yet, `line` writes a complete one, `doing` says what
goes on. Knows no Kafka, no terminal and no clock: a federation is read from its `Ledger`, reports as they are
heard. `fdstream.display` shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fdstream.dtypes import update_dtype
from fdstream.ledger import Ledger, Phase
from fdstream.messages import Metrics, Report, RoundClosed

HEADINGS = ("round", "reported", "held-out", "federated", "up", "down", "seconds")
WIDTHS = (5, 10, 10, 11, 9, 9, 8)
LAST_HEADING = "  last to report"
MOST_BEHIND = 3  # rounds that wait for a server's evaluation


@dataclass(slots=True)
class Round:
    """One round and the model that came out of it. Times are seconds on the clock of whoever is reporting."""

    number: int
    training: bool
    opened: float
    asked: int  # how many reports close it
    closed: float | None = None
    num_clients: int = 0  # in the cohort
    reported: dict[str, float] = field(default_factory=dict)  # client -> when
    failed: dict[str, str] = field(default_factory=dict)  # client -> why
    held_out: Metrics | None = None  # what the server's own evaluation found
    federated: Metrics | None = None  # weighted means of what the clients found
    up_bytes: int = 0  # payload of the cohort's updates
    down_bytes: int = 0  # payload of the model, once for each client in the cohort

    @property
    def seconds(self) -> float:
        return 0.0 if self.closed is None else self.closed - self.opened

    def last_to_report(self) -> list[tuple[str, float]]:
        """Clients and the seconds they took, the slowest first."""
        took = [(client, seconds - self.opened) for client, seconds in list(self.reported.items())]
        return sorted(took, key=lambda pair: (-pair[1], pair[0]))


class Rounds:
    """Folds a ledger, looked at after every change, and reports into rounds.

    The model that came out of a round is evaluated by the clients in the next one, and by the server beside that.
    So a round is complete when the next one has closed and the server's evaluation is there, or will not come:
    a server leaves one out when it is overtaken.
    """

    def __init__(self) -> None:
        self.num_rounds = 0
        self.open: list[Round] = []  # those not complete, the newest last
        self._complete: list[Round] = []
        self._model_bytes = 0
        self._update_bytes = 0
        self._closed: RoundClosed | None = None
        self._evaluated = 0  # the last round whose model the server has evaluated

    @property
    def current(self) -> Round | None:
        """The round in which clients work now."""
        return self.open[-1] if self.open and self.open[-1].closed is None else None

    def look(self, ledger: Ledger, now: float) -> None:
        """See what has changed; to be called after each control record."""
        if ledger.opened is None:
            return
        if ledger.closed_record is not None and ledger.closed_record is not self._closed:
            self._close(ledger.closed_record, now)
        if ledger.round > (self.open[-1].number if self.open else 0) and ledger.phase is Phase.COLLECTING:
            self._open(ledger, now)
        for made in self.open:
            if (evaluated := ledger.evaluated.get(made.number + 1)) is not None:
                made.held_out = evaluated.metrics
        self._evaluated = max(self._evaluated, *ledger.evaluated, 0)
        self._complete_what_is()

    def hear(self, report: Report, now: float) -> None:
        """A client's report, or that it failed; perhaps after the control records that followed from it."""
        found = next((made for made in self.open if made.number == report.round), None)
        if found is None:
            return
        if report.failure is not None:
            found.failed[report.client] = report.failure
        elif report.client not in found.reported:
            found.failed.pop(report.client, None)
            found.reported[report.client] = now

    def end(self) -> None:
        """Nothing more will come: what is closed is complete."""
        self._complete += [made for made in self.open if made.closed is not None]
        self.open = []

    def take_complete(self) -> list[Round]:
        """The rounds of training that became complete since the last call, in order."""
        taken, self._complete = self._complete, []
        return [made for made in taken if made.training]

    def _open(self, ledger: Ledger, now: float) -> None:
        settings, layout = ledger.federation.settings, ledger.layout
        self.num_rounds = settings.num_rounds
        self._model_bytes = layout.model_bytes
        self._update_bytes = sum(chunk.size * update_dtype(chunk.dtype).itemsize for chunk in layout.chunks)
        training = ledger.round_opened.training
        self.open.append(Round(ledger.round, training, now, settings.max_clients))

    def _close(self, closed: RoundClosed, now: float) -> None:
        self._closed = closed
        for made in self.open:
            if made.number == closed.round - 1:
                made.federated = closed.evaluate_metrics
            elif made.number == closed.round:
                made.closed, made.num_clients = now, closed.num_clients
                made.up_bytes = closed.num_clients * self._update_bytes
                made.down_bytes = closed.num_clients * self._model_bytes

    def _complete_what_is(self) -> None:
        while self.open and self._is_complete(self.open[0]):
            self._complete.append(self.open[0])
            self.open = self.open[1:]

    def _is_complete(self, made: Round) -> bool:
        if made.federated is None:
            return False
        awaited = 0 < self._evaluated <= made.number
        return made.held_out is not None or not awaited or self.open[-1].number > made.number + MOST_BEHIND


# As text


def heading() -> str:
    """The table's first line."""
    cells = [name.rjust(width) for name, width in zip(HEADINGS, WIDTHS, strict=True)]
    return "".join(cells) + LAST_HEADING


def line(made: Round, width: int) -> str:
    """A round as one line of at most `width` columns, where the table fits in as many."""
    cells = (
        str(made.number),
        f"{made.num_clients}/{made.asked}",
        metric(made.held_out),
        metric(made.federated),
        size(made.up_bytes),
        size(made.down_bytes),
        duration(made.seconds),
    )
    text = "".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    failed = [f"{client} failed" for client in made.failed]
    return text + _as_fit([*failed, *_slowest(made)], width - len(text) - 2)


def _slowest(made: Round) -> list[str]:
    return [f"{client} {duration(seconds)}" for client, seconds in made.last_to_report()]


def _as_fit(words: Sequence[str], width: int) -> str:
    """Two spaces and as many of the words as `width` columns take; where not even one fits, its end."""
    taken = ""
    if words and len(words[0]) > width > 1:
        return f"  \u2026{words[0][1 - width :]}"
    for word in words:
        longer = f"{taken}, {word}" if taken else word
        if len(longer) > width:
            break
        taken = longer
    return f"  {taken}" if taken else ""


def metric(metrics: Mapping[str, float] | None) -> str:
    """The accuracy in percent if there is one, else the first metric by its name."""
    if not metrics:
        return "-"
    if "accuracy" in metrics:
        return f"{100 * metrics['accuracy']:.1f} %"
    name, value = min(metrics.items())
    return f"{name[:4]} {value:.2g}"


def duration(seconds: float) -> str:
    """Seconds with hundredths where they matter."""
    return f"{seconds:.2f}" if seconds < 100 else f"{seconds:.0f}"


def size(count_bytes: int) -> str:
    """A number of bytes with three figures: 999 B, 38.9 kB, 12.0 MB."""
    value, units = float(count_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.{0 if units[0] == 'B' or value >= 99.95 else 1}f} {units[0]}"


def doing(rounds: Rounds, everybody: Collection[str], elapsed_seconds: float, width: int) -> str:
    """What is going on in the current round, in one line; `everybody` who is known to take part."""
    current = rounds.current
    if current is None:
        return "between rounds" if rounds.open else "waiting for the first round"
    what = (
        f"round {current.number} of {rounds.num_rounds}" if current.training else "evaluating the final model"
    )
    text = f"{what}, {elapsed_seconds:.0f} s: {len(current.reported)} of {current.asked} reported"
    if current.failed:
        text += f", {len(current.failed)} failed"
    waiting = [client for client in everybody if client not in current.reported]
    return f"{text}{_named(waiting, width - len(text))}" if waiting and current.reported else text


def _named(waiting: Sequence[str], width: int) -> str:
    """Who is waited for, by name as far as `width` columns take them."""
    for count in range(len(waiting), 0, -1):
        more = f" and {len(waiting) - count} more" if count < len(waiting) else ""
        if len(said := f"; waiting for {', '.join(waiting[:count])}{more}") <= width:
            return said
    return f"; waiting for {len(waiting)}"
