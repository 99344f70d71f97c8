"""What there is to see of a federation as JSON: all of it, or what has changed since a revision. Pure.

`changes(chronicle, 0)` is the whole; a viewer that has revision n asks for what came after it and lays it over what
it has, entry by entry under the entry's key. So viewers need no queues, and one that is slow gets fewer, larger
answers. The keys that the page reads are in `static/store.js`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fdstream.dashboard.chronicle import Chronicle
from fdstream.dashboard.parties import Event, Party
from fdstream.dashboard.refused import Refused
from fdstream.dashboard.rounds import Round, Row
from fdstream.dashboard.traffic import of_round
from fdstream.ledger import Phase
from fdstream.messages import Metrics

SIGNIFICANT_DIGITS = 6
MAX_TEXT_CHARS = 300
Document = dict[str, Any]


def changes(chronicle: Chronicle, since: int, *, name: str = "") -> Document:
    """What has changed after revision `since`; `name` is the federation's."""
    rounds = list(chronicle.rounds.values())
    events, refused = chronicle.events.recent, chronicle.refused
    found: Document = {
        "revision": chronicle.revision,
        "now": _seconds(chronicle.now_seconds),
        "first_round": chronicle.first_round,
        "rounds": [_round(chronicle, made) for made in rounds if made.revision > since],
        "rows": [_row(made, row) for made in rounds for row in made.rows.values() if row.revision > since],
        "global": [
            [number, _metrics(metrics)]
            for number, (revision, metrics) in chronicle.evaluations.items()
            if revision > since
        ],
        "parties": [_party(p) for p in chronicle.parties.by_name.values() if p.revision > since],
        "events": [_event(event) for event in events if event.revision > since],
    }
    if chronicle.federation_revision > since:
        found["federation"] = _federation(chronicle, name)
    if refused.revision > since:
        found["refused"] = {
            "total": refused.total,
            "reasons": dict(refused.reasons.most_common()),
            "records": [_refused(each) for each in refused.recent if each.revision > since],
        }
    return found


def _federation(chronicle: Chronicle, name: str) -> Document:
    ledger, found = chronicle.ledger, {"name": name, "phase": chronicle.ledger.phase.name.lower()}
    if ledger.phase is Phase.ABSENT:
        return found
    federation, layout = ledger.federation, ledger.layout
    finished = ledger.finished
    return found | {
        "round": ledger.round,
        "opened": _seconds(chronicle.opened_seconds),
        "settings": asdict(federation.settings),
        "config": {key: _text(str(value)) for key, value in federation.config.items()},
        "shards": federation.shards,
        "active_shards": len(layout.active_shards),
        "slots": federation.slots,
        "tensors": len(layout.tensors),
        "elements": layout.num_elements,
        "chunks": len(layout.chunks),
        "sizes": asdict(chronicle.sizes),
        "fingerprint": layout.fingerprint.hex(),
        "finished": None
        if finished is None
        else {
            "failed": finished.failed,
            "reason": _text(finished.reason),
            "rounds": finished.rounds,
            "seconds": _seconds(chronicle.finished_seconds or 0.0),
        },
    }


def _round(chronicle: Chronicle, made: Round) -> Document:
    made.sum_up()
    reported, refused = made.counts
    closed = made.closed
    handed_in = closed.num_clients if closed is not None and made.reports_deleted else reported
    traffic = of_round(
        chronicle.sizes, training=made.training, reports=handed_in, results=made.published_shards
    )
    return {
        "number": made.number,
        "training": made.training,
        "opened": _seconds(made.opened_seconds),
        "closed": None if made.closed_seconds is None else _seconds(made.closed_seconds),
        "phases": [
            [each.phase, _seconds(each.start), None if each.end is None else _seconds(each.end)]
            for each in made.phases()
        ],
        "extensions": [_seconds(seconds) for seconds in made.extensions],
        "judged": sorted(made.judged_shards),
        "published": sorted(made.published_shards),
        "reported": reported,
        "refused": refused,
        "cohort": closed.num_clients if closed else None,
        "examples": closed.num_examples if closed else None,
        "train": _metrics(closed.train_metrics) if closed else {},
        "evaluate": _metrics(closed.evaluate_metrics) if closed else {},
        "spread": {kind: _five(found) for kind, found in made.spread.items()},
        "model": closed.model_sha256.hex() if closed else "",
        "traffic": asdict(traffic),
        "update_records": made.update_records,
        "rows": "deleted" if made.reports_deleted else "dropped" if made.rows_dropped else "kept",
    }


def _row(made: Round, row: Row) -> list[Any]:
    return [
        made.number,
        row.client,
        _seconds(row.seconds),
        row.num_examples,
        row.outcome,
        _text(row.reason),
        _metrics(row.metrics),
        _metrics(row.evaluate_metrics),
    ]


def _party(party: Party) -> Document:
    return {
        "name": party.name,
        "role": party.role,
        "state": party.state,
        "here": party.here,
        "round": party.round,
        "reports": party.num_reports,
        "shards": _text(party.shards),
        "reason": _text(party.reason),
        "reason_round": party.reason_round,
        "sent": party.sent_bytes,
        "received": party.received_bytes,
        "first": _seconds(party.first_seconds),
    }


def _event(event: Event) -> Document:
    return {
        "number": event.number,
        "kind": event.kind,
        "role": event.role,
        "seconds": _seconds(event.seconds),
        "names": list(event.names),
        "count": event.count,
    }


def _refused(refused: Refused) -> Document:
    rejected = refused.rejected
    return {
        "number": refused.number,
        "seconds": _seconds(refused.seconds),
        "topic": _text(rejected.topic),
        "partition": rejected.partition,
        "offset": rejected.offset,
        "client": refused.client or _text(rejected.sender),
        "reason": _text(rejected.reason),
        "detail": _text(rejected.detail),
    }


def _seconds(value: float) -> float:
    return round(value, 3)


def _metrics(metrics: Metrics) -> dict[str, float]:
    return {name: _short(value) for name, value in metrics.items()}


def _five(spread: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [_short(value) for value in values] for name, values in spread.items()}


def _short(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _text(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"
