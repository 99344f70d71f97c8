"""The raw floor over gRPC: bidirectional streams in Python that move a round's bytes, add them up, and nothing else.

    python evaluations/bare_grpc.py hub|edge ADDRESS MODEL_BYTES CLIENTS ROUNDS

The hub writes the model's chunks to every stream, reads an update of as many bytes from each, adds them to float32
sums, and their mean is the next model. The edge has a stream and a connection for each client, as a fleet has; each
keeps the model that it received, as whoever trains does, and sends that memory back, not a buffer that all share: one
megabyte sent a hundred times stays in the processor's cache, and a hundred of them do not. The model is noise, for
untouched zeros are a page that the kernel has once. Both sides run gRPC's asyncio side on one thread, the quickest
that Python has for many streams. The hub prints the seconds of each round, one a line, and checks the last model: the
mean of what comes back is what went out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from grpc import aio

from fdstream.layout import DEFAULT_CHUNK_BYTES

OPTIONS = (("grpc.max_send_message_length", 1 << 20), ("grpc.max_receive_message_length", 1 << 20))
CONNECT_SECONDS = 30.0


@dataclass
class Hub:
    """The streams meet at two barriers a round: all are here, all have answered."""

    model_bytes: int
    clients: int
    rounds: int
    began: dict[int, float] = field(default_factory=dict)  # round -> when its first byte was written
    served: int = 0
    sums: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first = self.chunks = chunks_of(self.model_bytes)
        self.sums = [np.zeros(len(chunk) // 4, np.float32) for chunk in self.chunks]
        self.all_served = asyncio.Event()
        self.start, self.end = asyncio.Barrier(self.clients), asyncio.Barrier(self.clients)

    async def serve(self, _: Any, context: aio.ServicerContext[bytes, bytes]) -> None:
        for number in range(self.rounds):
            await self.start.wait()
            self.began.setdefault(number, time.perf_counter())  # by whoever goes on first
            for chunk in self.chunks:
                await context.write(chunk)
            for total in self.sums:
                data = await context.read()
                np.add(total, np.frombuffer(data, np.float32, total.size), out=total)
            if await self.end.wait() == 0:
                self.average()
                print(time.perf_counter() - self.began[number], flush=True)
        self.served += 1
        if self.served == self.clients:
            self.all_served.set()

    def average(self) -> None:
        """The next model; no stream goes on before all are at the barrier again."""
        self.chunks = [(total / np.float32(self.clients)).tobytes() for total in self.sums]
        for total in self.sums:
            total.fill(0)

    def check(self) -> None:
        """Every client sent back what it got, so the mean has moved by roundings alone."""
        for first, last in zip(self.first, self.chunks, strict=True):
            sent, mean = (np.frombuffer(chunk, np.float32, len(chunk) // 4) for chunk in (first, last))
            assert np.allclose(sent, mean, rtol=1e-3, atol=1e-3), "the sums are wrong"


def chunks_of(model_bytes: int) -> list[bytes]:
    """A model of noise, as the payloads of its chunks."""
    data = np.random.default_rng(0).standard_normal(model_bytes // 4, np.float32).tobytes()
    return [data[start : start + DEFAULT_CHUNK_BYTES] for start in range(0, len(data), DEFAULT_CHUNK_BYTES)]


async def hub(address: str, model_bytes: int, clients: int, rounds: int) -> None:
    served = Hub(model_bytes, clients, rounds)
    server = aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(served.serve)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bare", {"Stream": handler})])
    server.add_insecure_port(address)
    await server.start()
    await served.all_served.wait()
    await server.stop(None)
    served.check()


async def client(address: str, num_chunks: int, rounds: int) -> None:
    async with aio.insecure_channel(
        address, options=(*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    ) as channel:
        await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
        call = channel.stream_stream("/bare/Stream")()
        for _ in range(rounds):
            received = [await call.read() for _ in range(num_chunks)]
            for chunk in received:
                await call.write(chunk)
        await call.done_writing()
        await call.read()


async def edge(address: str, model_bytes: int, clients: int, rounds: int) -> None:
    num_chunks = len(chunks_of(model_bytes))
    await asyncio.gather(*(client(address, num_chunks, rounds) for _ in range(clients)))


def main() -> None:
    role, address, *numbers = sys.argv[1:]
    asyncio.run({"hub": hub, "edge": edge}[role](address, *map(int, numbers)))


if __name__ == "__main__":
    main()
