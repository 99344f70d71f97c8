"""What a client is doing, in words for people; read from its connection, by any thread."""

from __future__ import annotations

from fdstream.client.connection import Connection
from fdstream.ledger import Phase


def doing(connection: Connection) -> str:
    """Of the first client behind the connection."""
    session = connection.session
    ledger, state = session.ledger, connection.states[session.clients[0]]
    if ledger.phase is Phase.ABSENT:
        return "waiting for a server to open the federation"
    if ledger.phase is Phase.FINISHED:
        return "the federation has finished"
    if ledger.round == 0:
        return "waiting for the first round"
    settings, training = ledger.federation.settings, ledger.round_opened.training
    round_ = f"round {ledger.round} of {settings.num_rounds}" if training else "the final model"
    if state in ("training", "evaluating", "uploading"):
        return f"{round_}: {state}"
    if connection.answered_round == ledger.round:
        what = "failed" if state == "failed" else "reported"
        return f"{round_}: {what}, waiting for the others"
    if ledger.phase is Phase.COLLECTING and session.receiver.receiving:
        return f"{round_}: receiving the model"
    return f"{round_}: waiting for the next"
