"""The direction of imports: the core is pure, and each library is met in one place only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "fdstream"
PURE = [
    "messages.py",
    "codecs.py",
    "notices.py",
    "ranges.py",
    "serde/reasons.py",
    "signatures.py",
    "trust.py",
    "layout.py",
    "flat.py",
    "digests.py",
    "dtypes.py",
    "weights.py",
    "errors.py",
    "events.py",
    "fitting.py",
    "members.py",
    "ledger.py",
    "topics/table.py",
    "aggregation",
    "server/aggregate.py",
    "server/book.py",
    "server/broadcast.py",
    "server/coordinator.py",
    "server/early.py",
    "server/opening.py",
    "server/parts.py",
    "server/refusals.py",
    "server/rereading.py",
    "server/server.py",
    "server/shard.py",
    "server/statistics.py",
    "client/assembly.py",
    "client/feedback.py",
    "client/recall.py",
    "client/visits.py",
    "client/receiver.py",
    "client/session.py",
    "client/updates.py",
    "grpc/frames.py",
    "stress/wire.py",
    "status.py",
    "dashboard/chronicle.py",
    "dashboard/document.py",
    "dashboard/parties.py",
    "dashboard/refused.py",
    "dashboard/rounds.py",
    "dashboard/traffic.py",
]
INPUT_AND_OUTPUT = {
    "asyncio",
    "io",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
LIBRARY_ROOMS = {
    "confluent_kafka": ["topics"],
    "fastavro": ["serde"],
    "keras": ["keras.py", "examples"],
    "tensorflow": ["keras.py", "examples"],
    "jax": ["keras.py", "examples"],
    "sklearn": ["examples"],
    "grpc": ["grpc"],
    "prometheus_client": ["metrics"],
    "click": ["cli", "config.py"],
    "cryptography": ["signatures.py", "keys.py"],
    "kafka_cluster": ["broker.py", "demo.py", "demo", "stress"],
    "matplotlib": ["stress"],
    "psutil": ["stress"],
    "starlette": ["dashboard/web.py"],
    "uvicorn": ["dashboard/web.py"],
}


def imports(path: Path) -> set[str]:
    """Every module that the file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(place: str) -> list[Path]:
    path = ROOT / place
    found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert found, f"{place} is gone: mend this list"
    return found


def modules(place: str) -> set[str]:
    return {"fdstream." + ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files(place)}


PURE_MODULES = set().union(*(modules(place) for place in PURE)) | {"fdstream.log"}


@pytest.mark.parametrize("place", PURE)
def test_the_core_imports_nothing_but_the_core(place: str) -> None:
    for file in files(place):
        found = imports(file)
        assert not {name.split(".")[0] for name in found} & INPUT_AND_OUTPUT, file
        ours = {name for name in found if name.startswith("fdstream.") and (ROOT / _as_path(name)).exists()}
        assert ours <= PURE_MODULES, f"{file} imports {ours - PURE_MODULES}"


def _as_path(name: str) -> Path:
    return Path(*name.split(".")[1:]).with_suffix(".py")


@pytest.mark.parametrize("library", LIBRARY_ROOMS)
def test_each_library_is_met_in_its_room_only(library: str) -> None:
    rooms = [ROOT / room for room in LIBRARY_ROOMS[library]]
    for file in ROOT.rglob("*.py"):
        if library in {name.split(".")[0] for name in imports(file)}:
            assert any(file.is_relative_to(room) for room in rooms), f"{file} imports {library}"


@pytest.mark.parametrize(
    "module", ["fdstream", "fdstream.client.serverless", "fdstream.client.session", "fdstream.app"]
)
def test_importing_a_client_brings_no_machine_learning_library(module: str) -> None:
    heavy = [
        "tensorflow",
        "keras",
        "jax",
        "sklearn",
        "grpc",
        "flask",
        "functions_framework",
        "rich",
        "cryptography",
        "prometheus_client",
    ]
    script = f"import sys, {module}; sys.exit(','.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_looking_at_plain_arrays_does_not_wait_for_masked_ones() -> None:
    """`numpy.ma` takes a tenth of a second to import, which a cold function would feel."""
    script = (
        "import sys, numpy, fdstream.client.session\n"
        "from fdstream.layout import tensors_of\n"
        "tensors_of({'w': numpy.zeros(3)})\n"
        "sys.exit('numpy.ma' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_nothing_from_the_wire_is_executed() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for file in ROOT.rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(file)} & forbidden, file
        calls = {
            n.func.id
            for n in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert not calls & {"eval", "exec", "compile"}, file
