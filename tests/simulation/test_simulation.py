"""Whatever the scheduler does, the federation ends with the oracle's bytes.

Here every client is needed in every round, so the result is known beforehand and all seeds must end with one hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pytest

from fdstream.client.session import Outcome, Session
from fdstream.dtypes import Array
from fdstream.layout import Layout
from fdstream.messages import Settings
from fdstream.server.opening import Proposal
from tests.simulation.oracle import fedavg, model_hash
from tests.simulation.seeds import ALL
from tests.simulation.world import Chaos, World

SEEDS = ALL
BLOCK = 50
SHARDS = 3
ROUNDS = 3
CLIENTS = ["ada", "bob", "cyd"]
CHAOS = Chaos(kill=0.004, sleep=0.003, rebalance=0.01, duplicate=0.05, turns=1500)


def initial_weights(seed: int = 0) -> dict[str, Array]:
    numbers = np.random.default_rng(seed)
    return {
        "kernel": numbers.standard_normal((3, 5)).astype(np.float32),
        "bias": np.zeros(4, np.float32),
        "scale": np.array(1.0, np.float64),
    }


def trained(weights: Mapping[str, Array], client: str, round_number: int) -> tuple[dict[str, Array], int]:
    """A client's training: a pure function of the model, the client and the round."""
    seed = int.from_bytes(hashlib.sha256(f"{client}/{round_number}".encode()).digest()[:8], "big")
    numbers = np.random.default_rng(seed)
    num_examples = int(numbers.integers(1, 1000))
    new = {
        name: np.asarray(
            value + numbers.standard_normal(value.shape) * 10.0 ** numbers.integers(-6, 4), value.dtype
        )
        for name, value in weights.items()
    }
    return new, num_examples


def layout() -> Layout:
    return Layout.of(initial_weights(), chunk_bytes=16, shards=SHARDS)


def settings(**changes: object) -> Settings:
    values = {
        "num_rounds": ROUNDS,
        "min_clients": len(CLIENTS),
        "max_clients": len(CLIENTS),
        "deadline_seconds": 1e6,
        "max_extensions": 1000,
        "fraction": 1.0,
        "strategy": "fedavg",
        "keep_rounds": 2,
        "seed": 0,
        "final_evaluation": True,
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


def received(session: Session) -> dict[str, Array]:
    assert session.receiver.assembly is not None
    return session.receiver.assembly.model.tensors()


def honest(client: str, session: Session) -> Outcome:
    weights, opened = received(session), session.ledger.round_opened
    if not opened.training:
        return Outcome(evaluated_examples=7, evaluate_metrics={"loss": 0.5})
    new, num_examples = trained(weights, client, opened.round)
    return Outcome(new, num_examples, {"loss": 0.25})


def world(seed: int, chaos: Chaos = CHAOS, servers: int = 3) -> World:
    return World(
        seed,
        servers=servers,
        clients=CLIENTS,
        proposal=lambda _: Proposal(layout(), initial_weights(), settings(), {}),
        work=honest,
        shards=SHARDS,
        chaos=chaos,
    )


def expected_hash() -> str:
    weights: dict[str, Array] = initial_weights()
    for number in range(1, ROUNDS + 1):
        weights = fedavg(weights, [trained(weights, client, number) for client in CLIENTS])
    return model_hash(layout(), weights)


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_every_seed_ends_with_the_oracles_bytes(block: int) -> None:
    expected = expected_hash()
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        simulated = world(seed)
        simulated.run()
        for process in (*simulated.servers, *simulated.clients):
            closed = process.core.ledger.closed_record
            assert closed is not None
            assert closed.model_sha256.hex() == expected, f"seed {seed}: {process.name} ends with other bytes"
            assert closed.round == ROUNDS + 1
