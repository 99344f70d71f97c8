"""Federations whose records travel in fewer bytes: as exact as any other, whoever sums them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fdstream.codecs import codec, for_dtype
from fdstream.dtypes import dtype_of, update_dtype
from fdstream.layout import Layout
from fdstream.messages import FederationOpened, ModelChunk, UpdateChunk
from fdstream.topics import table
from tests.cluster.processes import Federation, hash_of
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 3
OPTIONS = (
    "--numrounds",
    str(ROUNDS),
    "--minclients",
    str(len(CLIENTS)),
    "--strategy",
    "fedavgm",
    "--keep-rounds",
    "all",
)


@pytest.mark.parametrize(("updates", "model"), [("topk:0.25", "bfloat16"), ("int8", "int8")])
def test_two_servers_end_with_the_bytes_of_one(kafka: str, tmp_path: Path, updates: str, model: str) -> None:
    options = (*OPTIONS, "--codec", updates, "--model-codec", model)
    hashes = []
    for count in (1, 2):
        with Federation(kafka, tmp_path) as federation:
            servers = [federation.server(*options, "--save", str(tmp_path / f"{count}.npz"))]
            servers += [federation.server(*options) for _ in range(count - 1)]
            federation.clients(*CLIENTS)
            hashes += [hash_of(server) for server in servers]
            if count == 1:
                check_bytes(federation, updates, model)
    assert len(set(hashes)) == 1
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as two:
        assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def check_bytes(federation: Federation, updates: str, model: str) -> None:
    """Every chunk has the bytes that its codec gives it, and there were some."""
    seen = set()
    with Topics(federation) as topics:
        (opened, *_) = topics.wait(table.CONTROL, FederationOpened, lambda _: True)
        layout = Layout(opened.tensors, opened.chunk_bytes, opened.shards)
        for slot in range(table.SLOTS):
            for name, text in ((table.updates(slot), updates), (table.model(slot), model)):
                for entry in topics.all_entries(name):
                    chunk = entry.message
                    assert isinstance(chunk, UpdateChunk | ModelChunk)
                    spec = layout.chunks[chunk.index]
                    travels = for_dtype(codec(text), spec.dtype)
                    dtype = (
                        update_dtype(spec.dtype) if isinstance(chunk, UpdateChunk) else dtype_of(spec.dtype)
                    )
                    assert len(chunk.data) == travels.encoded_bytes(dtype, spec.size)
                    seen.add(type(chunk))
    assert seen == {UpdateChunk, ModelChunk}
