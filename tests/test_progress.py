"""Rounds as people see them: complete at the right moment, counted rightly, in lines that fit."""

from __future__ import annotations

from fdstream.ledger import Ledger
from fdstream.messages import GlobalEvaluated, Message, Report, RoundClosed, Settings
from fdstream.progress import Round, Rounds, doing, duration, heading, line, metric, size
from tests import test_ledger as scripts
from tests.test_ledger import MODEL, NONCE, Script, closing, round_opened

SETTINGS = Settings(2, 3, 3, 60.0, 5, 1.0, "fedavg", 2, 0, final_evaluation=True)
MODEL_BYTES = 8 * 4  # one float32 tensor of 8 elements


def report(client: str, number: int, failure: str | None = None) -> Report:
    return Report(NONCE, client, b"a" * 16, number, 1, 10, {}, 5, {}, (), failure=failure)


def closed(number: int, accuracy: float, clients: int = 3) -> RoundClosed:
    found = {"accuracy": accuracy}
    return RoundClosed(NONCE, number, 1, clients, 30, {}, found, MODEL, bytes(32))


class Watched:
    """A federation of which the rounds see every control record, one second apart."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.rounds = Rounds()
        self.script = Script()
        self.now = 100.0
        opened = scripts.OPENED
        self.see(type(opened)(NONCE, opened.tensors, 16, 2, 2, settings, {}, MODEL))

    def see(self, *messages: Message) -> list[Round]:
        """The rounds that the messages complete."""
        for message in messages:
            self.fold(message)
        return self.rounds.take_complete()

    def fold(self, message: Message) -> None:
        self.now += 1
        if isinstance(message, Report):
            self.rounds.hear(message, self.now)
        else:
            assert self.script.fold(message) == [True]
            self.rounds.look(self.script.ledger, self.now)


def test_a_round_is_complete_when_its_model_is_evaluated_by_server_and_clients() -> None:
    watched = Watched()
    assert watched.see(round_opened(1), GlobalEvaluated(NONCE, 1, {"accuracy": 0.1})) == []
    assert watched.see(report("b", 1), report("a", 1), report("c", 1), closing(1), closed(1, 0.2)) == []
    assert watched.see(round_opened(2), GlobalEvaluated(NONCE, 2, {"accuracy": 0.5})) == []
    (first,) = watched.see(closing(2), closed(2, 0.4))
    assert (first.number, first.num_clients, first.asked) == (1, 3, 3)
    assert (first.held_out, first.federated) == ({"accuracy": 0.5}, {"accuracy": 0.4})
    assert (first.up_bytes, first.down_bytes) == (3 * MODEL_BYTES, 3 * MODEL_BYTES)
    assert first.seconds == 6.0  # from RoundOpened over the evaluation, three reports and the closing
    assert first.last_to_report() == [("c", 4.0), ("a", 3.0), ("b", 2.0)]


def test_the_last_evaluation_completes_the_last_round_and_is_none_itself() -> None:
    watched = Watched()
    watched.see(round_opened(1), closing(1), closed(1, 0.1), round_opened(2), closing(2), closed(2, 0.2))
    (second,) = watched.see(round_opened(3, training=False), closing(3), closed(3, 0.3))
    assert (second.number, second.federated) == (2, {"accuracy": 0.3})
    watched.rounds.end()
    assert watched.rounds.take_complete() == []


def test_an_evaluation_by_the_server_is_awaited_unless_a_later_one_shows_that_it_was_left_out() -> None:
    watched = Watched()
    watched.see(GlobalEvaluated(NONCE, 1, {"accuracy": 0.1}))
    watched.see(round_opened(1), closing(1), closed(1, 0.1))
    assert watched.see(round_opened(2), closing(2), closed(2, 0.2)) == []
    (first,) = watched.see(GlobalEvaluated(NONCE, 3, {"accuracy": 0.3}))
    assert (first.number, first.held_out) == (1, None)


def test_a_server_that_falls_silent_holds_no_line_back_for_long() -> None:
    watched = Watched(Settings(9, 3, 3, 60.0, 5, 1.0, "fedavg", 2, 0, final_evaluation=True))
    watched.see(GlobalEvaluated(NONCE, 1, {"accuracy": 0.1}))
    complete = [
        made.number
        for number in range(1, 8)
        for made in watched.see(round_opened(number), closing(number), closed(number, 0.1))
    ]
    assert complete == [1, 2, 3]


def test_at_the_end_what_has_closed_is_complete() -> None:
    watched = Watched()
    watched.see(round_opened(1), closing(1), closed(1, 0.1), round_opened(2), report("a", 2))
    watched.rounds.end()
    assert [made.number for made in watched.rounds.take_complete()] == [1]


def test_who_joins_in_the_middle_sees_the_rounds_from_there() -> None:
    watched = Watched()
    for message in (round_opened(1), closing(1), closed(1, 0.1), round_opened(2)):
        watched.script.fold(message)
    watched.rounds.look(watched.script.ledger, 1.0)
    assert watched.rounds.current is not None
    assert watched.rounds.current.number == 2


def test_reports_count_for_their_round_also_when_it_has_closed_before_they_are_heard() -> None:
    watched = Watched()
    watched.see(round_opened(1), closing(1), closed(1, 0.1), report("late", 1), report("strange", 7))
    (made,) = watched.rounds.open
    assert list(made.reported) == ["late"]


def test_a_client_that_failed_and_reports_after_all_has_not_failed() -> None:
    watched = Watched()
    watched.see(round_opened(1), report("a", 1, "no disk"), report("b", 1, "no memory"), report("a", 1))
    made = watched.rounds.current
    assert made is not None
    assert (list(made.reported), made.failed) == (["a"], {"b": "no memory"})


def test_before_the_federation_is_open_there_is_nothing() -> None:
    rounds = Rounds()
    rounds.look(Ledger(), 1.0)
    assert (rounds.open, rounds.current) == ([], None)


# As text


def made(**values: object) -> Round:
    facts = {"number": 12, "training": True, "opened": 10.0, "asked": 100, "closed": 63.47, "num_clients": 99}
    return Round(**(facts | values))  # type: ignore[arg-type]


def test_a_line_stands_under_its_headings_and_fits_80_columns() -> None:
    full = made(
        held_out={"accuracy": 0.975},
        federated={"accuracy": 0.9731},
        up_bytes=384_400,
        down_bytes=38_440_000,
        reported={"client-12": 63.41, "client-3": 62.0, "client-4": 11.0},
    )
    assert heading() == ("round  reported  held-out  federated       up     down seconds  last to report")
    assert line(full, 79) == (
        "   12    99/100    97.5 %     97.3 %   384 kB  38.4 MB   53.47  client-12 53.41"
    )
    assert line(full, 120).endswith("  client-12 53.41, client-3 52.00, client-4 1.00")
    assert len(heading()) <= 79


def test_a_failure_is_named_first() -> None:
    assert line(made(failed={"a": "no disk"}, reported={"b": 11.0}), 100).endswith("  a failed, b 1.00")


def test_of_a_long_name_the_end_is_shown() -> None:
    text = line(made(reported={"a-host-with-a-long-name-0fd9d297": 63.41}), 79)
    assert text.endswith("  …0fd9d297 53.41")
    assert len(text) == 79


def test_every_cell_keeps_its_distance_at_its_widest() -> None:
    wide = made(
        number=1000,
        asked=9999,
        num_clients=9999,
        held_out={"accuracy": 1.0},
        federated={"accuracy": 1.0},
        up_bytes=999_499_999,
        down_bytes=99_900,
        closed=9999.0,
    )
    assert line(wide, 79).split() == [
        *("1000", "9999/9999", "100.0", "%", "100.0", "%", "999", "MB", "99.9", "kB", "9989")
    ]


def test_metrics_sizes_and_durations_in_few_characters() -> None:
    assert metric(None) == metric({}) == "-"
    assert metric({"loss": 0.5, "accuracy": 0.5}) == "50.0 %"
    assert metric({"loss": 0.05731, "mse": 1.0}) == "loss 0.057"
    assert [size(n) for n in (0, 999, 1000, 99_940, 99_960, 999_499, 999_500, 1 << 60)] == [
        *("0 B", "999 B", "1.0 kB", "99.9 kB", "100 kB", "999 kB", "1.0 MB", "1153 PB")
    ]
    assert [duration(seconds) for seconds in (0.0, 1.234, 99.99, 100.0, 3600.4)] == [
        *("0.00", "1.23", "99.99", "100", "3600")
    ]


def test_what_goes_on_is_said_in_one_line_that_fits() -> None:
    watched = Watched()
    everybody = ["a", "b", "c"]
    assert doing(watched.rounds, everybody, 3.0, 80) == "waiting for the first round"
    watched.see(round_opened(1))
    assert doing(watched.rounds, everybody, 3.0, 80) == "round 1 of 2, 3 s: 0 of 3 reported"
    watched.see(report("b", 1), report("c", 1, "no disk"))
    said = doing(watched.rounds, everybody, 4.0, 80)
    assert said == "round 1 of 2, 4 s: 1 of 3 reported, 1 failed; waiting for a, c"
    longer = [*everybody, "a-client-with-a-long-name"]
    assert doing(watched.rounds, longer, 4.0, 80).endswith("; waiting for a, c and 1 more")
    assert doing(watched.rounds, everybody, 4.0, 30).endswith("; waiting for 2")
    watched.see(closing(1), closed(1, 0.1))
    assert doing(watched.rounds, everybody, 4.0, 80) == "between rounds"
    watched.see(round_opened(2), closing(2), closed(2, 0.1), round_opened(3, training=False))
    assert doing(watched.rounds, (), 0.0, 80) == "evaluating the final model, 0 s: 0 of 3 reported"
