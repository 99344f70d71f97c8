"""What a federation of `apps` must end with: the simulation's oracle over the cohorts of its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fdstream.dtypes import Array
from fdstream.layout import Layout
from tests.cluster import apps
from tests.cluster.processes import CHUNK_BYTES
from tests.simulation.oracle import fedavg, model_hash

SHARDS = 4


def expected_weights(cohorts: Iterable[Sequence[str]], seed: int = 0) -> Mapping[str, Array]:
    """The model after these rounds; `seed` is that of the initial weights."""
    weights: Mapping[str, Array] = apps.initial_weights(seed)
    for number, cohort in enumerate(cohorts, start=1):
        weights = fedavg(weights, [apps.trained(weights, client, number) for client in cohort])
    return weights


def oracle(cohorts: Iterable[Sequence[str]], initial: Mapping[str, Array], chunk_bytes: int) -> str:
    """The hash that these cohorts lead to from any initial weights."""
    weights = initial
    for number, cohort in enumerate(cohorts, start=1):
        weights = fedavg(weights, [apps.trained(weights, client, number) for client in cohort])
    return model_hash(Layout.of(dict(weights), chunk_bytes=chunk_bytes, shards=SHARDS), weights)


def expected_hash(cohorts: Iterable[Sequence[str]], seed: int = 0) -> str:
    weights = expected_weights(cohorts, seed)
    return model_hash(Layout.of(dict(weights), chunk_bytes=CHUNK_BYTES, shards=SHARDS), weights)
