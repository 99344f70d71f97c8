"""Integer statistics of updates in verdicts: packed by a shard's owner, summed over the shards by everybody. Pure.

Only what the log says is summed, so all owners weigh a cohort alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fdstream.aggregation.rule import Statistic
from fdstream.errors import RemoteError
from fdstream.messages import STATISTIC_BYTES, RoundClosing, ShardVerdict

Integers = npt.NDArray[np.object_]


def pack(values: Iterable[int]) -> bytes:
    """As `ShardVerdict.statistics` has them."""
    return b"".join(value.to_bytes(STATISTIC_BYTES, "little") for value in values)


def pairs_of(distances: Integers, places: Sequence[int], count: int) -> Iterable[int]:
    """The pairs of `count` reports in the order of the record; `distances` are those of the reports at `places`."""
    whole: Integers = np.zeros((count, count), np.object_)
    if places:
        whole[np.ix_(places, places)] = distances
    return iter(whole[np.triu_indices(count, 1)])


def of_cohort(
    statistic: Statistic, closing: RoundClosing, cohort: Sequence[int], verdicts: Iterable[ShardVerdict]
) -> Sequence[Any]:
    """The statistics of the cohort's updates over all shards: norms [members] or distances [members, members]."""
    if statistic is Statistic.NONE:
        return ()
    count = len(closing.accepted)
    expected = count if statistic is Statistic.NORMS else count * (count - 1) // 2
    total: Integers = np.zeros(expected, np.object_)
    for verdict in verdicts:
        total += _unpacked(verdict, expected)
    place_of = {offset: place for place, offset in enumerate(closing.accepted)}
    places = [place_of[offset] for offset in cohort]
    if statistic is Statistic.NORMS:
        norms: list[int] = total[places].tolist()
        return norms
    distances: Integers = np.zeros((count, count), np.object_)
    distances[np.triu_indices(count, 1)] = total
    distances += distances.T
    square: list[list[int]] = distances[np.ix_(places, places)].tolist()
    return square


def _unpacked(verdict: ShardVerdict, expected: int) -> Integers:
    packed = verdict.statistics
    if len(packed) != expected * STATISTIC_BYTES:
        raise RemoteError(
            f"the verdict of shard {verdict.shard} on round {verdict.round} has {len(packed)} bytes of statistics "
            f"where {expected} times {STATISTIC_BYTES} belong: compare the servers' versions"
        )
    found: Integers = np.empty(expected, np.object_)
    for place in range(expected):
        found[place] = int.from_bytes(
            packed[place * STATISTIC_BYTES : (place + 1) * STATISTIC_BYTES], "little"
        )
    return found
