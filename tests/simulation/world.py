"""A whole federation in one thread under a seeded scheduler: k servers, n clients, one memory broker.

The scheduler decides who moves next and how far: it reorders partitions against each other, delays effects and
acknowledgements, writes records twice, kills processes between any two effects, lets zombies sleep for rounds and
wake with effects still in hand, and moves shards between servers. A seed reproduces a run exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from fdstream.client.session import Outcome, Session
from fdstream.driver import written
from fdstream.events import (
    Append,
    DeleteBefore,
    Effect,
    Effects,
    Ends,
    Entry,
    Event,
    Follow,
    ReadEnds,
    Tell,
    Tick,
    Unfollow,
    Upload,
    Uploaded,
)
from fdstream.log import Lost, MemoryBroker, MemoryLog
from fdstream.messages import PROTOCOL, Message
from fdstream.serde.avro import WIRE, Wire
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.signatures import SigningKey
from fdstream.topics import table
from fdstream.trust import ANYBODY, NO_PINS, Pins, Trust

Work = Callable[[str, Session], Outcome]
Drawn = list[tuple[int, Message]]
Tamper = Callable[[Random, str, Drawn], Drawn]
Place = tuple[str, int]
FINISH_CHECK_TURNS = 16


@dataclass(frozen=True)
class Chaos:
    """Probabilities, each of a scheduler's turn."""

    kill: float = 0.0
    sleep: float = 0.0
    rebalance: float = 0.0
    duplicate: float = 0.0  # of a written record
    garbage: float = 0.0  # somebody writes bytes that are no record, to any partition
    lag: float = 0.0  # somebody gets some partitions much later than the others for a while
    wrong_clock: float = 0.0  # of a tick: it is off by centuries
    straggle: float = 0.0  # a client is busy for hundreds of turns and reads nothing
    intrude: float = 0.0  # somebody writes a record that is not theirs to write
    new_list: float = 0.0  # a server reads another list of trusted clients
    turns: int = 3000  # after so many turns the world calms down and must finish


@dataclass
class _Upload:
    """An upload on its way: which records are not yet acknowledged."""

    tag: tuple[object, ...]
    waiting: int
    starts: dict[int, int] = field(default_factory=dict)


@dataclass
class _Write:
    """One record to be written, perhaps as a part of an upload."""

    topic: str
    partition: int
    message: Message
    upload: _Upload | None = None


@dataclass(frozen=True)
class Identities:
    """Who signs with which key, and whom servers trust: another list at every start, the first one in the end."""

    keys: Mapping[str, SigningKey] = field(default_factory=dict)  # by the process's name
    lists: Sequence[Trust] = (ANYBODY,)
    pins: Pins = NO_PINS


class Process:
    """A core with its own view of the log and what it has still to do."""

    def __init__(
        self,
        name: str,
        core: Server | Session,
        tamper: Callable[[str, Drawn], Drawn],
        key: SigningKey | None = None,
        wire: Wire = WIRE,
    ) -> None:
        self.name = name
        self.wire = wire
        self.key = key
        self.tamper = tamper
        self.core = core
        self.sleeps_until = 0
        self.todo: deque[Effect | _Write] = deque()
        self.inbox: deque[Event] = deque()
        self.positions: dict[Place, int] = {}
        self.slow: frozenset[Place] = frozenset()  # partitions that reach it late
        self.enqueue(core.begin())

    def enqueue(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Upload):
                honest = list(effect.messages)
                drawn = self.tamper(self.name, honest)
                upload = _Upload(effect.tag, len(drawn))
                self.todo.extend(_Write(effect.topic, partition, m, upload) for partition, m in drawn)
                if not honest:
                    self.inbox.append(Uploaded(effect.tag, {}))
            else:
                self.todo.append(effect)


class World:
    """The broker, the processes and the dice."""

    def __init__(
        self,
        seed: int,
        *,
        servers: int,
        clients: Sequence[str | Sequence[str]],
        proposal: Callable[[Random], Proposal],
        work: Work,
        shards: int,
        chaos: Chaos,
        slots: int = table.SLOTS,
        tamper: Tamper = lambda _random, _name, drawn: drawn,
        identities: Identities = Identities(),
        intrude: Callable[[World], None] = lambda _: None,
        wires: Mapping[str, Wire] | None = None,
    ) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self.broker = MemoryBroker(
            {s.name: s.partitions for s in table.topic_specs(shards, slots)}, lambda: self.now
        )
        self.turn = 0
        self.shards = shards
        self.chaos = chaos
        self.work = work
        self.tamper = tamper
        self.identities = identities
        self.intrude = intrude
        self.wires = wires or {}
        self.proposal = proposal
        self.entries: dict[tuple[object, ...], Entry] = {}
        self.told: list[Tell] = []
        self.zombies: list[Process] = []
        self.servers = [self._server(f"server-{i}") for i in range(servers)]
        self.clients = [self._client([name] if isinstance(name, str) else list(name)) for name in clients]
        self._rebalance()

    # Running

    def run(self, *, at_most: int = 60_000) -> None:
        """Until every process sees the federation finished; raises if the calm world does not get there."""
        while self.turn % FINISH_CHECK_TURNS or not self._finished():
            self.turn += 1
            if self.turn > at_most:
                raise AssertionError(f"not finished after {at_most} turns: {self._state()}")
            if self.turn < self.chaos.turns:
                self._disturb()
            elif self.turn == self.chaos.turns:
                self._calm_down()
            self._move(self.random.choice(self._awake()))

    def _finished(self) -> bool:
        return all(p.core.ledger.phase.name == "FINISHED" for p in (*self.servers, *self.clients))

    def _state(self) -> str:
        rows = [
            (p.name, p.core.ledger.phase.name, p.core.ledger.round) for p in (*self.servers, *self.clients)
        ]
        return f"{rows}"

    def _awake(self) -> list[Process]:
        everyone = [*self.servers, *self.clients, *self.zombies]
        turn = self.turn
        return [p for p in everyone if p.sleeps_until <= turn] or everyone

    def _move(self, process: Process) -> None:
        self.now += self.random.random() * 0.02
        partitions = self.broker.partitions
        fresh = [place for place, at in process.positions.items() if at < len(partitions[place])]
        if process.slow and self.random.random() < 0.97:
            fresh = [place for place in fresh if place not in process.slow]
        weights = (1, 4 * bool(process.todo), 2 * bool(process.inbox), 4 * bool(fresh))
        kind = int(self.random.random() * sum(weights))
        if kind < weights[0]:
            self._tick(process)
        elif kind < sum(weights[:2]):
            self._perform(process)
        elif kind < sum(weights[:3]):
            self._answer(process)
        else:
            self._deliver(process, self.random.choice(fresh))
        self._act(process)

    def _act(self, process: Process) -> None:
        core = process.core
        if isinstance(core, Server):
            if core.needs_proposal:
                process.enqueue(core.propose(self.proposal(self.random)))
            return
        due = core.due()
        if due and self.random.random() < 0.5:
            for client in due:
                process.enqueue(core.report(client, self.work(client, core)))
            process.enqueue(core.release())

    def wake_zombies(self, *, turns: int) -> None:
        """Let everybody go on after the end: nothing may come of it but a finished federation for all."""
        for process in self.zombies:
            process.sleeps_until = 0
        for _ in range(turns):
            self.turn += 1
            self._move(self.random.choice([*self.servers, *self.clients, *self.zombies]))

    # Moves

    def _tick(self, process: Process) -> None:
        wrong = self.random.random() < self.chaos.wrong_clock and self.turn < self.chaos.turns
        self._step(process, Tick(self.now + self.random.choice([-1e10, 1e10]) if wrong else self.now))

    def _answer(self, process: Process) -> None:
        self._step(process, process.inbox.popleft())

    def _deliver(self, process: Process, place: Place) -> None:
        """Some records at once, as a poll would have them."""
        events: list[Event] = []
        for _ in range(self.random.randint(1, 6)):
            position = process.positions.get(place)
            if position is None or position >= len(self.broker.partitions[place]):
                break
            if position < self.broker.starts[place]:
                del process.positions[place]
                events.append(Lost(*place, position))
                break
            process.positions[place] = position + 1
            events.append(self.entry(*place, position, process.wire, process.core.protocol))
        self._step(process, *events)

    def _perform(self, process: Process) -> None:
        for _ in range(self.random.randint(1, 4)):
            if process.todo:
                self._do(process, process.todo.popleft())

    def _do(self, process: Process, effect: Effect | _Write) -> None:
        match effect:
            case _Write():
                self._write(process, effect)
            case Append():
                self._write_one(process, effect)
            case ReadEnds():
                ends = {topic: tuple(self._ends(topic)) for topic in effect.topics}
                process.inbox.append(Ends(effect.tag, ends))
            case Follow():
                place = (effect.topic, effect.partition)
                process.positions[place] = min(effect.offset, process.positions.get(place, effect.offset))
            case Unfollow():
                process.positions.pop((effect.topic, effect.partition), None)
            case DeleteBefore():
                MemoryLog(self.broker).delete_before(effect.offsets)
            case Tell():
                self.told.append(effect)

    def _write_one(self, process: Process, effect: Append) -> None:
        offset = self._append(process, effect.topic, effect.partition, effect.message)
        if effect.then is not None:
            value = self.broker.partitions[effect.topic, effect.partition][offset].value
            process.todo.appendleft(replace(effect, message=effect.then(value), then=None))

    def _write(self, process: Process, write: _Write) -> None:
        offset = self._append(process, write.topic, write.partition, write.message)
        upload = write.upload
        assert upload is not None
        upload.starts[write.partition] = min(offset, upload.starts.get(write.partition, offset))
        upload.waiting -= 1
        if upload.waiting == 0:
            process.inbox.append(Uploaded(upload.tag, upload.starts))

    def _append(self, process: Process, topic: str, partition: int, message: Message) -> int:
        value = written(message, process.key, process.core.protocol, process.wire)
        offset = self.broker.append(topic, partition, value, b"")
        if self.random.random() < self.chaos.duplicate:
            self.broker.append(topic, partition, value, b"")
        return offset

    def _ends(self, topic: str) -> Iterator[int]:
        for (name, _), records in self.broker.partitions.items():
            if name == topic:
                yield len(records)

    def _step(self, process: Process, *events: Event) -> None:
        process.enqueue(process.core.step(*events))

    def entry(
        self, topic: str, partition: int, offset: int, wire: Wire = WIRE, protocol: int = PROTOCOL
    ) -> Entry:
        """The decoded record; decoded once for everybody who reads it the same way."""
        key = (topic, partition, offset, id(wire), protocol)
        if key not in self.entries:
            record = self.broker.partitions[topic, partition][offset]
            self.entries[key] = Entry(record, wire.decode(record.value, table.records(topic), protocol))
        return self.entries[key]

    # Disturbance

    def _disturb(self) -> None:
        if self.random.random() < self.chaos.kill:
            self._kill()
        if self.random.random() < self.chaos.sleep:
            self._put_to_sleep()
        if self.random.random() < self.chaos.rebalance:
            self._rebalance() if self.random.random() < 0.7 else self._revoke()
        if self.random.random() < self.chaos.garbage:
            self._write_garbage()
        self._disturb_more()

    def _disturb_more(self) -> None:
        if self.random.random() < self.chaos.lag:
            self._lag()
        if self.random.random() < self.chaos.intrude:
            self.intrude(self)
        if self.random.random() < self.chaos.new_list:
            self._trust(self.random.choice(self.servers), self.random.choice(self.identities.lists))
        if self.random.random() < self.chaos.straggle:
            self.random.choice(self.clients).sleeps_until = self.turn + self.random.randint(200, 3000)

    def _write_garbage(self) -> None:
        place = self.random.choice(sorted(self.broker.partitions))
        self.broker.append(*place, self.random.randbytes(self.random.randint(0, 30)), b"")

    def _lag(self) -> None:
        process = self.random.choice([*self.servers, *self.clients])
        topics = self.random.sample(sorted({topic for topic, _ in self.broker.partitions}), 2)
        process.slow = frozenset(place for place in self.broker.partitions if place[0] in topics)

    def _kill(self) -> None:
        """SIGKILL somebody and start the same again at once, with nothing but the log."""
        if self.random.random() < 0.5:
            index = self.random.randrange(len(self.servers))
            self.servers[index] = self._server(self.servers[index].name)
            self._rebalance()
        else:
            index = self.random.randrange(len(self.clients))
            self.clients[index] = self._client(self.clients[index].name.split("+"))

    def _put_to_sleep(self) -> None:
        """A server or client stops; sometimes it is given up and replaced, and wakes as a zombie."""
        group = self.servers if self.random.random() < 0.6 else self.clients
        index = self.random.randrange(len(group))
        sleeper = group[index]
        sleeper.sleeps_until = self.turn + self.random.randint(50, 1500)
        if self.random.random() < 0.5:
            self.zombies.append(sleeper)
            name = sleeper.name
            group[index] = self._server(name) if group is self.servers else self._client(name.split("+"))
            self._rebalance()

    def _calm_down(self) -> None:
        for process in (*self.servers, *self.clients):
            process.sleeps_until = 0
            process.slow = frozenset()
        for process in self.servers:
            self._trust(process, self.identities.lists[0])
        self._rebalance()

    def _rebalance(self) -> None:
        """Give every shard to one awake server; sleepers believe what they believed."""
        awake = [p for p in self.servers if p.sleeps_until <= self.turn] or self.servers
        owners = {shard: self.random.choice(awake) for shard in range(self.shards)}
        for process in awake:
            assert isinstance(process.core, Server)
            process.enqueue(process.core.assign({s for s, owner in owners.items() if owner is process}))

    def _trust(self, process: Process, trust: Trust) -> None:
        assert isinstance(process.core, Server)
        process.enqueue(process.core.trust(trust))

    def _revoke(self) -> None:
        """Between two assignments the shards are nobody's."""
        for process in self.servers:
            if process.sleeps_until <= self.turn:
                assert isinstance(process.core, Server)
                process.enqueue(process.core.assign(()))

    # Processes

    def _server(self, name: str) -> Process:
        end = len(self.broker.partitions[table.CONTROL, 0])
        lists = self.identities.lists if self.turn < self.chaos.turns else self.identities.lists[:1]
        trust = lists[0] if len(lists) == 1 else self.random.choice(lists)
        pins = self.identities.pins
        return self._process(name, Server(control_end=end, new_id=self._new_id, pins=pins, trust=trust))

    def _client(self, names: Sequence[str]) -> Process:
        """One connection; several names are multiplexed on it."""
        return self._process("+".join(names), Session(names, self._new_id, self.identities.pins))

    def _process(self, name: str, core: Server | Session) -> Process:
        return Process(
            name,
            core,
            lambda who, drawn: self.tamper(self.random, who, drawn),
            self.identities.keys.get(name),
            self.wires.get(name, WIRE),
        )

    def _new_id(self) -> bytes:
        return self.random.randbytes(16)
