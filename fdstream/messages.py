"""Every record of the protocol, as frozen values.

One class a record, one Avro schema of the same name in `fdstream/serde/schemas/`. Constructing a record checks
the ranges that Avro cannot express and raises `ValueError`; the decoder turns that into a refusal. This file
knows no bytes, no topics' full names and no clock.

Common fields:
    nonce          16 random bytes naming one life of a federation: topics deleted and made again do not mix
    signature      who stands for the record, the last field; see `signatures`
    round          1, 2, …; the global model *of* round r is the one that clients train on in round r
    ordinal        1, 2, …; how often this round has tried to close
    shard          0 … P-1; the chunks whose index is `shard` modulo P, and the partition they travel in
    attempt        16 random bytes naming one try of one writer to upload something
    offset fields  positions in a Kafka partition
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fdstream.codecs import FULL, codec, model_codec
from fdstream.layout import TensorSpec
from fdstream.notices import Heartbeat as Heartbeat
from fdstream.notices import Rejected as Rejected
from fdstream.ranges import MAX_METRIC as MAX_METRIC
from fdstream.ranges import MAX_METRICS as MAX_METRICS
from fdstream.ranges import MAX_NAME_LENGTH as MAX_NAME_LENGTH
from fdstream.ranges import MAX_OFFSET as MAX_OFFSET
from fdstream.ranges import Metrics as Metrics
from fdstream.ranges import few, identifier, metrics, offsets, text, within

ConfigValue = str | int | float | bool

MAX_SHARDS = 1024
MAX_CLIENTS = 100_000
MAX_NUM_EXAMPLES = 1 << 24
MAX_CONFIG = 256
MAX_SERVER_KEYS = 64
MAX_REFUSED = 1000
MAX_CLIP = 1e12
STATISTIC_BYTES = 25  # of a squared norm or distance up to 2^200 steps of 2^-72
MAX_STATISTICS = 256 * 255 // 2

PROTOCOL = 1  # the version in which federations are opened; those of every version up to it are understood


@dataclass(frozen=True, slots=True)
class Signature:
    """Ed25519 over all of the record before this, its last field: see `signatures`."""

    key: bytes  # 32 bytes, the public key
    value: bytes  # 64 bytes


@dataclass(frozen=True, slots=True)
class ShardModel:
    """Where one shard of a model lies: the writer's attempt, where to start reading, and what to find.

    The starts are offsets of the attempt's first chunk in the shard's partition of `round-<slot>.model` and
    `round-<slot>.state`; the digests are shard digests over the chunks there (see `digests`).
    """

    attempt: bytes  # 16 bytes
    start: int
    digest: bytes  # 16 bytes, of the weights
    state_start: int
    state_digest: bytes  # 16 bytes, of the strategy's state; that of no chunks for a strategy without state

    def __post_init__(self) -> None:
        within("start", self.start, 0, MAX_OFFSET)
        within("state_start", self.state_start, 0, MAX_OFFSET)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for a whole federation; the first FederationOpened fixes it for every server."""

    num_rounds: int
    min_clients: int
    max_clients: int
    deadline_seconds: float
    max_extensions: int
    fraction: float  # of the clients asked to take part in a round, 0 < fraction <= 1
    strategy: str  # for example "fedavg" or "fedadam:lr=0.01"
    keep_rounds: int  # 0 keeps all
    seed: int
    final_evaluation: bool  # whether a last round only evaluates the final model
    codec: str = FULL  # how updates travel, for example "bfloat16" or "topk:0.01"
    model_codec: str = FULL  # how the global model travels
    signed_reports: bool = (
        False  # whether servers take reports of the clients they know, signed, and no others
    )
    clip: float = 0.0  # Euclidean norm to which longer updates are shortened; 0 for no bound

    def __post_init__(self) -> None:
        within("num_rounds", self.num_rounds, 1, 1 << 31)
        within("min_clients", self.min_clients, 1, MAX_CLIENTS)
        within("max_clients", self.max_clients, self.min_clients, MAX_CLIENTS)
        within("deadline_seconds", self.deadline_seconds, 1e-3, 1e9)
        within("max_extensions", self.max_extensions, 0, 1 << 31)
        within("fraction", self.fraction, 1e-9, 1.0)
        within("keep_rounds", self.keep_rounds, 0, 1 << 31)
        within("seed", self.seed, 0, MAX_OFFSET)
        text("strategy", self.strategy)
        codec(self.codec)
        model_codec(self.model_codec)
        within("clip", self.clip, 0.0, MAX_CLIP)

    @property
    def last_round(self) -> int:
        """The number of the last round: of training, or the one that evaluates the final model."""
        return self.num_rounds + int(self.final_evaluation)


@dataclass(frozen=True, slots=True)
class FederationOpened:
    """control: opens the federation. The initial model's chunks are in the log before this is written.

    With `server_keys` every other record that servers write about the federation counts only signed by one of them.
    """

    nonce: bytes
    tensors: tuple[TensorSpec, ...]
    chunk_bytes: int
    shards: int
    slots: int
    settings: Settings
    config: Mapping[str, ConfigValue]
    model: tuple[ShardModel, ...]  # [shards]
    federation: str = "default"  # its name: a signed record copied to another federation opens nothing there
    protocol: int = PROTOCOL  # the version in which every record of this federation is written
    server_keys: tuple[bytes, ...] = ()  # public keys, 32 bytes each
    signature: Signature | None = None

    def __post_init__(self) -> None:
        identifier("federation", self.federation)
        within("protocol", self.protocol, 1, 1 << 31)
        few("server_keys", self.server_keys, MAX_SERVER_KEYS)
        within("chunk_bytes", self.chunk_bytes, 8, 1 << 26)
        within("shards", self.shards, 1, MAX_SHARDS)
        within("slots", self.slots, 1, 64)
        if len(self.model) != self.shards:
            raise ValueError(f"model names {len(self.model)} shards, expected {self.shards}")
        few("config", self.config, MAX_CONFIG)
        for key, value in self.config.items():
            identifier("a name in config", key)
            text("a value in config", value if isinstance(value, str) else "")


@dataclass(frozen=True, slots=True)
class RoundOpened:
    """control: a round starts. What lies before the start offsets is never read for this round."""

    nonce: bytes
    round: int
    training: bool  # False: clients only evaluate the model; nobody uploads an update
    model: tuple[ShardModel, ...]  # [shards]
    updates_start: tuple[int, ...]  # [shards]
    reports_start: int
    shards_start: tuple[int, ...]  # [shards]
    sampling_nonce: bytes  # 16 bytes
    previous: bytes  # sha256 of the previous RoundClosed's bytes; zeros in the first round
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        offsets("updates_start", self.updates_start, len(self.model))
        offsets("shards_start", self.shards_start, len(self.model))
        within("reports_start", self.reports_start, 0, MAX_OFFSET)


@dataclass(frozen=True, slots=True)
class RoundExtended:
    """control: the round needs more reports. The deadline starts anew and more clients are asked.

    Clients whose report is in `excluded`, or who failed, may report once more.
    """

    nonce: bytes
    round: int
    extension: int  # 1, 2, …
    fraction: float
    excluded: tuple[int, ...]  # offsets of reports
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        within("extension", self.extension, 1, 1 << 31)
        within("fraction", self.fraction, 1e-9, 1.0)
        offsets("excluded", self.excluded)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A report that is not taken, and why."""

    report: int  # offset
    reason: str

    def __post_init__(self) -> None:
        within("report", self.report, 0, MAX_OFFSET)
        text("reason", self.reason)


@dataclass(frozen=True, slots=True)
class RoundClosing:
    """control: writes the candidates for the cohort down, once per ordinal.

    Where reports carry updates `updates_end` of shard 0 is an offset in their partition.
    """

    nonce: bytes
    round: int
    ordinal: int
    accepted: tuple[int, ...]  # offsets of reports, ascending
    updates_end: tuple[int, ...]  # [shards]; every chunk that counts lies before its partition's end
    refused: tuple[
        Exclusion, ...
    ] = ()  # reports of the round that its writer did not take; the first of them
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        within("ordinal", self.ordinal, 1, 1 << 31)
        offsets("accepted", self.accepted)
        offsets("updates_end", self.updates_end)
        if list(self.accepted) != sorted(set(self.accepted)):
            raise ValueError("accepted is not in ascending order")
        few("refused", self.refused, MAX_REFUSED)


@dataclass(frozen=True, slots=True)
class RoundClosed:
    """control: the round is over; `model` is what the next round starts from."""

    nonce: bytes
    round: int
    ordinal: int
    num_clients: int
    num_examples: int
    train_metrics: Metrics  # means over the cohort, weighted by num_examples
    evaluate_metrics: Metrics  # of the model of this round, weighted by evaluated_examples
    model: tuple[ShardModel, ...]  # [shards]
    model_sha256: bytes  # 32 bytes
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        within("ordinal", self.ordinal, 1, 1 << 31)
        within("num_clients", self.num_clients, 0, MAX_CLIENTS)
        within("num_examples", self.num_examples, 0, MAX_OFFSET)
        metrics("train_metrics", self.train_metrics)
        metrics("evaluate_metrics", self.evaluate_metrics)


@dataclass(frozen=True, slots=True)
class GlobalEvaluated:
    """control: what the server's own evaluation found for the model of a round. Holds nothing up."""

    nonce: bytes
    round: int
    metrics: Metrics
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        metrics("metrics", self.metrics)


@dataclass(frozen=True, slots=True)
class FederationFinished:
    """control: nothing follows. `failed` tells a federation that gave up from one that reached its end.

    It counts only if `after` is still the last control record that counts (GlobalEvaluated aside), so that a
    server which slept cannot end a federation that went on without it.
    """

    nonce: bytes
    after: int  # offset in control
    rounds: int  # training rounds closed
    failed: bool
    reason: str
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("after", self.after, 0, MAX_OFFSET)
        within("rounds", self.rounds, 0, 1 << 31)
        text("reason", self.reason)


@dataclass(frozen=True, slots=True)
class ShardVerdict:
    """shards: which of a closing's reports this shard cannot take. The first of (round, ordinal, shard) counts.

    `statistics` holds what the aggregation rule needs of the reports' slices, `STATISTIC_BYTES` each, unsigned and
    little-endian: for clipping a squared norm for each accepted report in order; for Krum a squared distance for each
    pair of them, (0, 1), (0, 2) … (1, 2) …; 0 where a report is left out.
    """

    nonce: bytes
    round: int
    ordinal: int
    shard: int
    excluded: tuple[Exclusion, ...]
    statistics: bytes = b""
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        within("ordinal", self.ordinal, 1, 1 << 31)
        within("shard", self.shard, 0, MAX_SHARDS - 1)
        count, rest = divmod(len(self.statistics), STATISTIC_BYTES)
        if rest or count > MAX_STATISTICS:
            raise ValueError(
                f"statistics has {len(self.statistics)} bytes, not at most {MAX_STATISTICS} times {STATISTIC_BYTES}"
            )


@dataclass(frozen=True, slots=True)
class ShardResult:
    """shards: this shard of the next model is in the log. The first of (round, ordinal, shard) counts."""

    nonce: bytes
    round: int
    ordinal: int
    shard: int
    model: ShardModel
    signature: Signature | None = None

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        within("ordinal", self.ordinal, 1, 1 << 31)
        within("shard", self.shard, 0, MAX_SHARDS - 1)


@dataclass(frozen=True, slots=True)
class Report:
    """reports: a client's summary of its update, written after every chunk of it is acknowledged.

    An update of one small chunk has no record of its own: it is `data` (see `Ledger.reports_carry_updates`). In a
    round without training `digests` is empty and `num_examples` 0. With `failure` set the client could
    not take part and says why.
    """

    nonce: bytes
    client: str
    attempt: bytes
    round: int
    round_offset: int  # of the RoundOpened it answers, in control
    num_examples: int
    metrics: Metrics  # of training
    evaluated_examples: int
    evaluate_metrics: Metrics  # of the received model, on the client's own data
    digests: tuple[bytes, ...]  # [shards], each 16 bytes
    data: bytes = b""  # the update's only chunk, encoded; empty where updates travel in chunks
    failure: str | None = None
    signature: Signature | None = None

    def __post_init__(self) -> None:
        identifier("client", self.client)
        within("round", self.round, 1, 1 << 31)
        within("round_offset", self.round_offset, 0, MAX_OFFSET)
        within("num_examples", self.num_examples, 0, MAX_NUM_EXAMPLES)
        within("evaluated_examples", self.evaluated_examples, 0, MAX_NUM_EXAMPLES)
        metrics("metrics", self.metrics)
        metrics("evaluate_metrics", self.evaluate_metrics)
        few("digests", self.digests, MAX_SHARDS)
        text("failure", self.failure or "")


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """round-<slot>.model and .state: a slice of the model of `round`, in partition `index` modulo P.

    Part 0 (in .model) holds weights as the model codec has them travel; parts 1 … (in .state, which only servers
    read) hold the strategy's state and, last, the weights themselves where the model codec is lossy, all in the
    update dtype.
    """

    nonce: bytes
    attempt: bytes
    round: int
    part: int
    index: int
    data: bytes | memoryview

    def __post_init__(self) -> None:
        within("round", self.round, 1, (1 << 31) + 1)
        within("part", self.part, 0, 16)
        within("index", self.index, 0, 1 << 40)


@dataclass(frozen=True, slots=True)
class UpdateChunk:
    """round-<slot>.updates: a slice of (trained - received), encoded, in partition `index` modulo P."""

    nonce: bytes
    attempt: bytes
    round: int
    index: int
    num_examples: int
    data: bytes | memoryview

    def __post_init__(self) -> None:
        within("round", self.round, 1, 1 << 31)
        within("index", self.index, 0, 1 << 40)
        within("num_examples", self.num_examples, 1, MAX_NUM_EXAMPLES)


Message = (
    FederationOpened
    | RoundOpened
    | RoundExtended
    | RoundClosing
    | RoundClosed
    | GlobalEvaluated
    | FederationFinished
    | ShardVerdict
    | ShardResult
    | Report
    | ModelChunk
    | UpdateChunk
    | Heartbeat
    | Rejected
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the decoder returns for bytes that are no record of this protocol. A value, not an error."""

    reason: str
    detail: str
