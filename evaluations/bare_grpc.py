"""The raw floor over gRPC: bidirectional streams in Python that move a round's bytes, add them up, and nothing else.

    python evaluations/bare_grpc.py hub|edge ADDRESS MODEL_BYTES CLIENTS ROUNDS

The hub writes the model's chunks to every stream, then reads as many bytes from each and adds them to float32 sums;
the edge has a stream and a connection for each client, which reads the model and writes as many bytes back. Both run
gRPC's asyncio side on one thread. The hub prints the seconds of each round, one a line.
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

from fdstream.topics import table

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
        self.chunks = chunks_of(self.model_bytes)
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
                print(time.perf_counter() - self.began[number], flush=True)
        self.served += 1
        if self.served == self.clients:
            self.all_served.set()


def chunks_of(model_bytes: int) -> list[bytes]:
    whole, rest = divmod(model_bytes, table.CHUNK_BYTES)
    return [bytes(table.CHUNK_BYTES)] * whole + [bytes(rest)] * (rest > 0)


async def hub(address: str, model_bytes: int, clients: int, rounds: int) -> None:
    served = Hub(model_bytes, clients, rounds)
    server = aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(served.serve)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bare", {"Stream": handler})])
    server.add_insecure_port(address)
    await server.start()
    await served.all_served.wait()
    await server.stop(None)


async def client(address: str, chunks: list[bytes], rounds: int) -> None:
    async with aio.insecure_channel(
        address, options=(*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    ) as channel:
        await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
        call = channel.stream_stream("/bare/Stream")()
        for _ in range(rounds):
            for _chunk in chunks:
                await call.read()
            for chunk in chunks:
                await call.write(chunk)
        await call.done_writing()
        await call.read()


async def edge(address: str, model_bytes: int, clients: int, rounds: int) -> None:
    chunks = chunks_of(model_bytes)
    await asyncio.gather(*(client(address, chunks, rounds) for _ in range(clients)))


def main() -> None:
    role, address, *numbers = sys.argv[1:]
    asyncio.run({"hub": hub, "edge": edge}[role](address, *map(int, numbers)))


if __name__ == "__main__":
    main()
