"""`make fuzz`: a million hostile inputs, guided by coverage where atheris is installed, and the seed to do it again.

    python -m tests.fuzz [--inputs 1000000] [--seed N] [--engine guided|random]

First hostile records from the generator, a fifth of them, for the decoders and then for whole servers on a log in
memory; the rest by atheris, which looks for inputs that reach new lines of the decoders. What fails is written to a
file and printed; it belongs into `tests/fuzz/test_regressions.py` then.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from fdstream.serde.avro import encode
from tests.fuzz.checks import CHECKS, payload_bytes
from tests.fuzz.federation import check_federation
from tests.fuzz.records import hostile
from tests.serde.vectors import RECORDS

RECORDS_EACH = 500  # hostile records of one federation in memory
GOODS = [encode(record) for record in RECORDS]


def random_records(inputs: int, seed: int) -> None:
    """The decoders alone."""
    random, outcomes = Random(seed), Counter[str]()
    for number in range(inputs):
        value = hostile(random, GOODS)
        try:
            outcomes[CHECKS["record"](value)] += 1
        except BaseException:
            print(f"seed {seed}, input {number}: {value.hex()}", flush=True)
            raise
    say("decoders", inputs, outcomes)


def random_payloads(inputs: int, seed: int) -> None:
    """The wire codecs: payloads of the right length half of the time, or none of them would be looked into."""
    random, outcomes = Random(seed), Counter[str]()
    for _ in range(inputs):
        kinds = random.randrange(256)
        length = random.choice((payload_bytes(kinds), random.randrange(300)))
        outcomes[CHECKS["payload"](bytes([kinds]) + random.randbytes(length))] += 1
    say("wire codecs", inputs, outcomes)


def federations(inputs: int, seed: int) -> None:
    """Whole servers: their honest clients' model must not change."""
    outcomes = Counter[str]()
    for number in range(max(1, inputs // RECORDS_EACH)):
        try:
            outcomes.update(check_federation(seed + number, RECORDS_EACH))
        except BaseException:
            print(f"federation with seed {seed + number}", flush=True)
            raise
    say("servers", inputs, outcomes)


def guided(inputs: int, seed: int) -> None:
    """Atheris, a process for each check, because it ends its process."""
    for name in CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder)
            for number, good in enumerate(GOODS):
                (corpus / str(number)).write_bytes(good)
            runs, crashes = inputs // len(CHECKS), Path.cwd()
            options = [
                f"-runs={runs}",
                f"-seed={seed % 2**31 or 1}",
                "-max_len=600",
                f"-artifact_prefix={crashes}/fuzz-",
            ]
            began = time.monotonic()
            command = [sys.executable, "-m", "tests.fuzz.guided", name, *options, folder]
            done = subprocess.run(command, capture_output=True, text=True)
            print("\n".join(done.stderr.splitlines()[-3:]), flush=True)
            if done.returncode != 0:
                sys.exit(f"{name}, seed {seed}:\n{done.stdout}{done.stderr}")
            print(f"guided, {name}: {runs:,} inputs in {time.monotonic() - began:.0f} s", flush=True)


def say(what: str, inputs: int, outcomes: Counter[str]) -> None:
    print(f"{what}: {inputs:,} inputs", flush=True)
    for outcome, count in outcomes.most_common():
        print(f"  {count:>9,} {outcome}", flush=True)


def has_atheris() -> bool:
    try:
        import atheris  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument(
        "--engine", choices=("guided", "random"), default="guided" if has_atheris() else "random"
    )
    options = parser.parse_args()
    print(
        f"seed {options.seed}, {options.engine}: make fuzz FUZZ='--seed {options.seed}' does it again",
        flush=True,
    )
    inputs, seed = options.inputs, options.seed
    few, guiding = inputs // 20, options.engine == "guided"
    federations(few, seed)
    random_payloads(few, seed)
    random_records(2 * few if guiding else inputs - 2 * few, seed)
    if guiding:
        guided(inputs - 4 * few, seed)


if __name__ == "__main__":
    main()
