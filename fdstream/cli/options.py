"""The options that several commands share, each declared once: flag, default, range and help.

A command takes those it needs as decorators; its function gets the values under the names noted here. Bounds
are those of `fdstream.messages`. Names of environment variables and keys follow from the flags, see
`fdstream.config`.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from fdstream import codecs, config, keys
from fdstream.cli.param_types import (
    Addresses,
    ByteSize,
    Checked,
    CountOrAll,
    FileToWrite,
    FiniteRange,
    KeySource,
    KeyValue,
    Spelled,
)
from fdstream.messages import MAX_CLIENTS, MAX_CLIP, MAX_NAME_LENGTH, MAX_OFFSET, MAX_SHARDS

_ROUNDS = click.IntRange(1, 2**31)
_CLIENTS = click.IntRange(1, MAX_CLIENTS)

# Where and which federation

broker = click.option(  # broker: str
    "--broker",
    type=Addresses(),
    metavar="HOST:PORT[,...]",
    default="127.0.0.1:9091",
    help="Kafka broker, or several of one cluster.",
)
federation = click.option(  # federation: str
    "--federation",
    type=Checked(
        "name",
        re.compile(r"[A-Za-z0-9_-]{1,100}").fullmatch,
        "1 to 100 letters, digits, '_' or '-'",
    ),
    metavar="NAME",
    default="default",
    help="Which federation to take part in; one broker can carry many.",
)
kafka = click.option(  # kafka: dict[str, str]
    "--kafka",
    type=KeyValue(typed=False),
    metavar="KEY=VALUE",
    multiple=True,
    callback=config.merged_secrets,
    show_default=False,  # a file's password would be shown as the default
    help="Any librdkafka setting, such as security.protocol=SASL_SSL; repeatable. Give secrets in the "
    "environment (one setting a line, or with ; between) or in the file (in [kafka]).",
)

# Who takes part

_KEYS = click.Path(exists=True, path_type=Path)

key = click.option(  # key: Path | str | None
    "--key",
    type=KeySource(keys.is_private_text, dir_okay=False, secret=True),
    metavar="FILE",
    show_default=False,  # a key in a file of options would be shown
    help="Private key to sign with, from `fdstream keys new`. In the environment its text does as well.",
)
server_key = click.option(  # server_key: Path | str | None
    "--server-key",
    type=KeySource(keys.is_public_text, dir_okay=True),
    metavar="FILE|DIRECTORY",
    help="Public keys of the federation's servers, or their text; what none of them has signed is not believed.",
)
trust = click.option(  # trust: Path | None
    "--trust",
    type=_KEYS,
    metavar="FILE|DIRECTORY",
    show_default="anyone may take part",
    help="Public keys of the clients that may take part, one a line or *.pub files; read again when they change.",
)

# A federation's settings

numrounds = click.option(  # num_rounds: int
    "--numrounds", "num_rounds", type=_ROUNDS, metavar="N", default=3, help="Rounds of training."
)
minclients = click.option(  # min_clients: int
    "--minclients",
    "min_clients",
    type=_CLIENTS,
    metavar="N",
    default=2,
    help="Clients that a round needs.",
)
maxclients = click.option(  # max_clients: int | None
    "--maxclients",
    "max_clients",
    type=_CLIENTS,
    metavar="N",
    show_default="as many as --minclients",
    help="A round closes at once when so many have reported; later ones are left out.",
)
deadline = click.option(  # deadline_seconds: float
    "--deadline",
    "deadline_seconds",
    type=FiniteRange(1e-3, 1e9),
    metavar="SECONDS",
    default=600.0,
    help="A round closes after so long with the clients it has, if they are enough; else it asks more of them "
    "and starts anew.",
)
fraction = click.option(  # fraction: float
    "--fraction",
    type=FiniteRange(1e-9, 1.0),
    metavar="F",
    default=1.0,
    help="Part of the clients asked to take part in a round.",
)
shards = click.option(  # shards: int
    "--shards",
    type=click.IntRange(1, MAX_SHARDS),
    metavar="P",
    default=4,
    help="Parts of the model that servers share out: at most so many servers work at once.",
)
strategy = click.option(  # strategy: str
    "--strategy",
    metavar="NAME[:KEY=VALUE,...]",
    default="fedavg",
    help="How updates become the next model: fedavg, fedavgm, fedadam, fedyogi or fedadagrad; or, to withstand lying "
    "clients, median, trimmed-mean:BETA, krum:F or multi-krum:F,M.",
)
clip = click.option(  # clip: float, 0 for no bound
    "--clip",
    type=FiniteRange(0.0, MAX_CLIP),
    metavar="NORM",
    default=0.0,
    show_default="no bound",
    help="Shorten every update to this Euclidean norm, and count each client once. For the strategies that take a "
    "mean: fedavg, fedavgm, fedadam, fedyogi and fedadagrad.",
)
codec = click.option(  # codec: str
    "--codec",
    type=Spelled("codec", codecs.codec),
    metavar="NAME",
    default=codecs.FULL,
    help="How updates travel: full, float32, bfloat16, float16, int8 or topk:FRACTION of the largest. What a client "
    "has to leave out with the last two it sends later, as long as its process lives.",
)
model_codec = click.option(  # model_codec: str
    "--model-codec",
    type=Spelled("codec", codecs.model_codec),
    metavar="NAME",
    default=codecs.FULL,
    help="How the global model travels to the clients: full, float32, bfloat16, float16 or int8. Servers keep it "
    "whole.",
)
chunk_bytes = click.option(  # chunk_bytes: int | None
    "--chunk-bytes",
    type=ByteSize(8, 1 << 26),
    metavar="SIZE",
    help="Size of the model's slices on the wire. Left out: as much for each shard, in slices of 128KiB to 900KiB. "
    "More than 900KiB needs brokers with larger limits.",
)
keep_rounds = click.option(  # keep_rounds: int, 0 for all
    "--keep-rounds",
    type=CountOrAll(),
    metavar="N|all",
    default=2,
    help="Rounds whose models and updates stay in the log.",
)
seed = click.option(  # seed: int
    "--seed",
    type=click.IntRange(0, MAX_OFFSET),
    metavar="N",
    default=0,
    show_default=True,
    help="Where random choices start.",
)

# What runs, with what, and what comes out

app = click.option(  # app: str, for fdstream.app.load; the default is fdstream.app.DEFAULT_APP
    "--app",
    metavar="MODULE:ATTRIBUTE",
    default="fdstream.examples.digits:app",
    help="Your fdstream.App.",
)
settings = click.option(  # settings: dict[str, str | int | float | bool]
    "--set",
    "settings",
    type=KeyValue(typed=True),
    metavar="KEY=VALUE",
    multiple=True,
    callback=config.merged,
    show_default=False,
    help="An entry of the config that your functions get; repeatable. In the environment with ; between, in "
    "the file in [set]. Numbers, true and false are taken as such.",
)
NAME_CHECK = Checked(
    "name",
    lambda text: text.isprintable() and 1 <= len(text) <= MAX_NAME_LENGTH,
    f"1 to {MAX_NAME_LENGTH} printable characters",
)
client_id = click.option(  # client_id: str | None
    "--client-id",
    type=NAME_CHECK,
    metavar="NAME",
    show_default="a new one",
    help="This client's name; keep it over restarts to be known again.",
)
data_index = click.option(  # data_index: int | None
    "--data-index",
    type=click.IntRange(0, 2**31),
    metavar="N",
    help="Which part of the data this client has; your functions find it in their config.",
)
heartbeat_period = click.option(  # heartbeat_period_seconds: float
    "--heartbeat-period",
    "heartbeat_period_seconds",
    type=FiniteRange(0.1, 86_400),
    metavar="SECONDS",
    default=5.0,
    help="How often to say on the members topic that this process is alive.",
)
metrics_port = click.option(  # metrics_port: int | None
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    show_default="none",
    help="Serve metrics for Prometheus there, under /metrics; 0 takes a free port and says which.",
)
metrics_host = click.option(  # metrics_host: str
    "--metrics-host",
    metavar="HOST",
    default="127.0.0.1",
    help="Address to serve metrics on; 0.0.0.0 for every one of this machine.",
)
save = click.option(  # save_path: Path | None
    "--save",
    "save_path",
    type=FileToWrite(".npz"),
    metavar="PATH.npz",
    help="Write the global model there at the end.",
)

write_moments = click.option(  # moments: Path | None
    "--moments",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Append to this file, a JSON line each, when a model came, an update went, a round closed, and how "
    "many records passed: for measuring.",
)
as_json = click.option(  # as_json: bool
    "--json/--no-json", "as_json", help="Make the last line of stdout one JSON object."
)
