"""What tests of any part stand on: logging as it was, and real brokers.

A broker is started when first asked for, once a test process, on free ports.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from kafka_cluster import Cluster

# Most of the time would go into compiling for speed what then runs for milliseconds, here and in what tests start.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# How long an example takes is the machine's affair, and no property of the code.
hypothesis.settings.register_profile("fdstream", deadline=None)
hypothesis.settings.load_profile("fdstream")


def pytest_configure() -> None:
    """Where the tests run in the background SIGINT may be ignored, and what they start would ignore it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who needs three brokers comes first: so one process has all of them, and the cluster is started once."""
    items.sort(key=lambda item: "three_nodes" not in getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging is one for the whole process: what a command configures is undone after its test."""
    root, ours = logging.getLogger(), logging.getLogger("fdstream")
    handlers, level = root.handlers[:], ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A one-node cluster, shared: give topics names of their own and leave the node running."""
    with Cluster(data_dir=tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(one_node: Cluster) -> str:
    """`host:port` of a shared one-node cluster."""
    return one_node.bootstrap


@pytest.fixture(scope="session")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, shared; use `kafka3`, which mends them."""
    with Cluster(nodes=3, data_dir=tmp_path_factory.mktemp("kafka3")) as cluster:
        yield cluster


@pytest.fixture
def kafka3(three_nodes: Cluster) -> Iterator[Cluster]:
    """A shared three-node cluster (RF 3, min.insync 2); nodes that a test kills are started again."""
    yield three_nodes
    three_nodes.restart_killed()
