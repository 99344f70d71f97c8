"""Every metric: its name, kind, labels and meaning. Pure; docs/metrics.md is made of this.

Names follow https://prometheus.io/docs/practices/naming: base units, `_total` for what only grows. All carry the
labels of `COMMON` besides their own. No label takes a value that clients choose freely: where the set of values is
not fixed, `BOUNDED` says how many there are at most, and what comes later is `other`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

COMMON = ("federation", "role")
SERVER, CLIENT, SWARM = "server", "client", "swarm"
CLIENTS = (CLIENT, SWARM)
ALL = (SERVER, *CLIENTS)

BOUNDED = {"reason": 64, "metric": 64}
OTHER = "other"

# From 10 ms, as on one machine, to an hour, as with phones: two or three steps a decade.
DURATION_BUCKETS_SECONDS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. `shared`: every server of the federation says the same, so take the maximum and not the sum."""

    name: str
    kind: Kind
    meaning: str
    roles: tuple[str, ...]
    labels: tuple[str, ...] = ()
    shared: bool = False
    only_kafka: bool = False  # not over gRPC


BUILD = Definition(
    "fdstream_build_info",
    "gauge",
    "1; what runs here.",
    ALL,
    ("version", "python", "librdkafka"),
)
ROUND = Definition(
    "fdstream_round", "gauge", "The last round that was opened, 0 before the first.", ALL, (), True
)

# The federation's course, from the log

PHASE = Definition(
    "fdstream_phase",
    "gauge",
    "1 for the phase that the federation is in, 0 for the others; docs/architecture.md tells what they are.",
    (SERVER,),
    ("phase",),
    True,
)
PHASE_SECONDS = Definition(
    "fdstream_phase_seconds_total",
    "counter",
    "Time in each phase since this process has known the federation's history.",
    (SERVER,),
    ("phase",),
    True,
)
PLANNED_ROUNDS = Definition(
    "fdstream_planned_rounds",
    "gauge",
    "Rounds of training that the federation is to have.",
    (SERVER,),
    (),
    True,
)
ROUNDS_CLOSED = Definition(
    "fdstream_rounds_closed_total", "counter", "Rounds closed while this process served.", (SERVER,), (), True
)
ROUND_DURATION = Definition(
    "fdstream_round_duration_seconds",
    "histogram",
    "From RoundOpened to RoundClosed, by the broker's clock.",
    (SERVER,),
    (),
    True,
)
ROUND_WAITING_SINCE = Definition(
    "fdstream_round_waiting_since_timestamp_seconds",
    "gauge",
    "When the current round was opened or last extended, by the broker's clock, since the epoch.",
    (SERVER,),
    (),
    True,
)
ROUND_DEADLINE = Definition(
    "fdstream_round_deadline_seconds",
    "gauge",
    "How long a round waits for clients before it closes with those it has, or is extended.",
    (SERVER,),
    (),
    True,
)
ROUND_EXTENSIONS = Definition(
    "fdstream_round_extensions",
    "gauge",
    "How often the current round had to ask for more clients.",
    (SERVER,),
    (),
    True,
)
MIN_CLIENTS = Definition(
    "fdstream_min_clients", "gauge", "Fewest clients whose updates make a model.", (SERVER,), (), True
)
MAX_CLIENTS = Definition(
    "fdstream_max_clients", "gauge", "Most clients whose updates make a model.", (SERVER,), (), True
)
COHORT_CLIENTS = Definition(
    "fdstream_cohort_clients", "gauge", "Clients in the cohort of the last closed round.", (SERVER,), (), True
)
COHORT_EXAMPLES = Definition(
    "fdstream_cohort_examples", "gauge", "Examples that this cohort trained on.", (SERVER,), (), True
)
MODEL_METRIC = Definition(
    "fdstream_model_metric",
    "gauge",
    "Accuracy, loss and whatever else the app names, as last written to the log. The source is train (means over the "
    "cohort), evaluate (means of the received model on the clients' data) or global (the server's own evaluation).",
    (SERVER,),
    ("source", "metric"),
    True,
)

# What comes from the clients

REPORTS = Definition(
    "fdstream_reports_total",
    "counter",
    "Reports read: accepted, duplicate, late, failed (the client says it could not take part) or refused (see "
    "fdstream_records_rejected_total); excluded counts those that were accepted and that a shard left out later.",
    (SERVER,),
    ("outcome",),
    True,
)
REJECTED = Definition(
    "fdstream_records_rejected_total",
    "counter",
    "Records that were skipped because something is wrong with them, each once. A server counts what it reads: "
    "updates of its own shards, all the rest, nothing that lies before a round's start offsets.",
    ALL,
    ("reason",),
)
MEMBERS = Definition(
    "fdstream_members_alive",
    "gauge",
    "Members whose heartbeat was heard in the last 30 s: member is client or server, state what they do.",
    (SERVER,),
    ("member", "state"),
    True,
)

# The work of a process

LOG_BYTES = Definition(
    "fdstream_log_bytes_total",
    "counter",
    "Bytes of records appended (direction out) and delivered (in): each once, and once more where it has to be read "
    "again, as by a strategy over whole updates. The topics of the ring count together: model, state, updates, "
    "reports.",
    ALL,
    ("topic", "direction"),
)
LOG_RECORDS = Definition(
    "fdstream_log_records_total", "counter", "The same as records.", ALL, ("topic", "direction")
)
FOLD_BYTES = Definition(
    "fdstream_fold_bytes_total", "counter", "Bytes of update chunks that were folded into sums.", (SERVER,)
)
FOLD_SECONDS = Definition(
    "fdstream_fold_seconds_total",
    "counter",
    "Time spent on them; fdstream_fold_bytes_total by this is the throughput of the fold.",
    (SERVER,),
)
SHARDS_ASSIGNED = Definition(
    "fdstream_shards_assigned", "gauge", "Shards that this server has to work on.", (SERVER,)
)
SHARD_LAG = Definition(
    "fdstream_shard_lag_records",
    "gauge",
    "Update records of a shard that stand in the log and were not read yet, as of librdkafka's last statistics.",
    (SERVER,),
    ("shard",),
    only_kafka=True,
)
CLIENT_STATE = Definition(
    "fdstream_clients", "gauge", "Clients of this process by what they do.", CLIENTS, ("state",)
)
CLIENT_STATE_SECONDS = Definition(
    "fdstream_client_state_seconds_total",
    "counter",
    "Time in each state, summed over the clients of this process.",
    CLIENTS,
    ("state",),
)
TASKS = Definition(
    "fdstream_tasks_total",
    "counter",
    "Rounds that clients of this process answered: reported or failed.",
    CLIENTS,
    ("outcome",),
)
TASK_DURATION = Definition(
    "fdstream_task_duration_seconds",
    "histogram",
    "From the model's hand-over to the answer: evaluation, training, encoding and the queueing of the update.",
    CLIENTS,
)

# librdkafka, from its statistics (https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md)

RDKAFKA_REQUESTS = Definition(
    "fdstream_librdkafka_requests_total",
    "counter",
    "Requests sent to brokers.",
    ALL,
    ("handle",),
    only_kafka=True,
)
RDKAFKA_ERRORS = Definition(
    "fdstream_librdkafka_errors_total",
    "counter",
    "Requests and responses that failed or timed out.",
    ALL,
    ("handle",),
    only_kafka=True,
)
RDKAFKA_RETRIES = Definition(
    "fdstream_librdkafka_retries_total", "counter", "Requests sent again.", ALL, ("handle",), only_kafka=True
)
RDKAFKA_DISCONNECTS = Definition(
    "fdstream_librdkafka_disconnects_total",
    "counter",
    "Connections lost or closed.",
    ALL,
    ("handle",),
    only_kafka=True,
)
RDKAFKA_BYTES = Definition(
    "fdstream_librdkafka_bytes_total",
    "counter",
    "Bytes on the wire, protocol included.",
    ALL,
    ("handle", "direction"),
    only_kafka=True,
)
RDKAFKA_CONNECTIONS = Definition(
    "fdstream_librdkafka_connections",
    "gauge",
    "Connections to brokers that are up.",
    ALL,
    ("handle",),
    only_kafka=True,
)
RDKAFKA_QUEUED_MESSAGES = Definition(
    "fdstream_librdkafka_queued_messages",
    "gauge",
    "Records that wait to be acknowledged (producer) or to be polled (consumer).",
    ALL,
    ("handle",),
    only_kafka=True,
)
RDKAFKA_QUEUED_BYTES = Definition(
    "fdstream_librdkafka_queued_bytes", "gauge", "The same in bytes.", ALL, ("handle",), only_kafka=True
)
RDKAFKA_ROUND_TRIP = Definition(
    "fdstream_librdkafka_round_trip_seconds",
    "gauge",
    "Time until a broker answers, over librdkafka's last window; the slowest handle counts. Consumers wait at the "
    "broker for news, up to half a second.",
    ALL,
    ("handle", "broker", "quantile"),
    only_kafka=True,
)

DEFINITIONS: tuple[Definition, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Definition)
)
