"""What a federation of `apps` must end with: the simulation's oracle over the cohorts of its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fdstream.dtypes import Array
from fdstream.layout import Layout
from fdstream.messages import Settings
from tests.cluster import apps
from tests.cluster.processes import CHUNK_BYTES
from tests.simulation.oracle import fedavg, model_hash
from tests.simulation.rules import aggregate

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


def expected_hash_under(settings: Settings, cohorts: Iterable[Sequence[str]]) -> str:
    """The same under the aggregation rule of `settings`, clipping included, for strategies without a state."""
    weights = apps.initial_weights(0)
    for number, cohort in enumerate(cohorts, start=1):
        updates = [apps.trained(weights, client, number) for client in cohort]
        members = [
            {place: np.subtract(new[name], weights[name]).reshape(-1) for place, name in enumerate(weights)}
            for new, _ in updates
        ]
        totals, divisor = aggregate(settings, members, [count for _, count in updates])
        weights = {
            name: np.asarray(old + totals[place].reshape(old.shape) / divisor, old.dtype)
            for place, (name, old) in enumerate(weights.items())
        }
    return model_hash(Layout.of(weights, chunk_bytes=CHUNK_BYTES, shards=SHARDS), weights)
