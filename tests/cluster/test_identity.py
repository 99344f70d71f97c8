"""Keys on the real broker: known clients make the model; strangers, thieves and forgers are refused, and hear why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fdstream.keys import load_private, new_pair
from fdstream.messages import FederationFinished, FederationOpened, Rejected, RoundClosing, RoundOpened
from fdstream.serde.avro import encode
from fdstream.signatures import SigningKey
from fdstream.topics import table
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, hash_of
from tests.cluster.topics import Topics

ROUNDS = 2
CLIENTS = ("ada", "bob")
STRANGER = "of a client that is not trusted"
STOLEN = "signed with another key than this client's"


class Keys:
    """Key pairs in a folder; the public keys of `CLIENTS` in one that a server trusts."""

    def __init__(self, folder: Path) -> None:
        self.trusted, self.others = folder / "trusted", folder / "others"
        for place in (self.trusted, self.others):
            place.mkdir()
        for name in CLIENTS:
            new_pair(name, self.trusted / name)
        for name in ("server", "eve", "mallory"):
            new_pair(name, self.others / name)

    def of(self, name: str) -> tuple[str, str]:
        place = self.trusted if name in CLIENTS else self.others
        return "--key", str(place / f"{name}.key")

    def private(self, name: str) -> SigningKey:
        return load_private(Path(self.of(name)[1]))

    @property
    def server(self) -> tuple[str, ...]:
        return (*self.of("server"), "--trust", str(self.trusted))

    @property
    def pin(self) -> tuple[str, str]:
        return "--server-key", str(self.others / "server.pub")

    def secrets(self) -> list[str]:
        """The lines of every private key that must not be seen anywhere."""
        files = [*self.trusted.glob("*.key"), *self.others.glob("*.key")]
        return [line for file in files for line in file.read_text().splitlines() if "PRIVATE" not in line]


def forge(topics: Topics, by: SigningKey) -> None:
    """A next round, an end of this one and an end of everything, by somebody who may write to control."""
    (opened, *_) = topics.wait(table.CONTROL, FederationOpened, lambda _: True)
    current = topics.wait_for_round(1)
    ends = (0,) * len(current.model)
    for message in (
        replace(current, round=2, sampling_nonce=bytes(16), signature=None),
        RoundClosing(opened.nonce, 1, 1, (), ends),
        FederationFinished(opened.nonce, 1, 1, True, "because I say so"),
    ):
        value = encode(message)
        for forged in (value, by.sign(value)):
            topics.log.append(table.CONTROL, 0, forged)
    topics.log.flush()


def test_known_clients_alone_make_the_model_and_everybody_else_hears_why(
    federation: Federation, tmp_path: Path
) -> None:
    keys, gate = Keys(tmp_path), federation.gate()
    server = federation.server("--numrounds", str(ROUNDS), "--minclients", "2", *keys.server)
    eve = federation.client("eve", *keys.of("eve"), *keys.pin)
    thief = federation.client("bob", *keys.of("mallory"), *keys.pin)
    clients = [federation.client(name, *keys.of(name), *keys.pin, *gate.options()) for name in CLIENTS]
    with Topics(federation) as topics:
        topics.wait(table.REJECTED, Rejected, lambda record: record.reason in (STRANGER, STOLEN), 2)
        forge(topics, keys.private("mallory"))
        topics.wait(table.REJECTED, Rejected, lambda record: record.reason == "not signed by a server", 6)
        assert topics.messages(table.CONTROL, RoundOpened)[0].round == 1
        gate.open(*range(1, ROUNDS + 1))
        assert hash_of(server) == expected_hash([CLIENTS] * ROUNDS)
        closing = next(
            c for c in topics.messages(table.CONTROL, RoundClosing) if c.signature and len(c.accepted) == 2
        )
        assert {each.reason for each in closing.refused} >= {STRANGER, STOLEN}
    for process in (*clients, eve, thief):
        assert process.result()["failed"] == 0
    for process, reason in ((eve, STRANGER), (thief, STOLEN)):
        assert "the servers did not take this client's report" in process.log
        assert reason in process.log
    assert "record refused" in clients[0].log
    assert "not signed by a server" in clients[0].log
    check_newcomers(federation, keys)
    said = "".join(process.log for process in federation.processes)
    assert not [line for line in keys.secrets() if line in said]


def check_newcomers(federation: Federation, keys: Keys) -> None:
    """Who does not fit the federation is told so in one sentence."""
    wrong_pin = ("--server-key", str(keys.others / "eve.pub"))
    pinned_wrong = federation.client("ada", *keys.of("ada"), *wrong_pin)
    no_list = federation.server(*keys.of("server"))
    no_key = federation.server("--trust", str(keys.trusted))
    loose = keys.others / "eve.key"
    loose.chmod(0o644)
    careless = federation.client("eve", *keys.of("eve"))
    code, sentence = pinned_wrong.refusal()
    assert (code, "is signed with the key" in sentence) == (3, True), sentence
    assert no_list.refusal() == (
        2,
        "Error: this federation takes signed reports of the clients that its servers know: say with --trust who "
        "they are",
    )
    code, sentence = no_key.refusal()
    assert (code, "this one has none of their keys: give --key" in sentence) == (2, True), sentence
    code, sentence = careless.refusal()
    assert (code, f"run chmod 600 {loose}" in sentence) == (2, True), sentence


def test_without_a_list_the_log_says_once_that_anyone_may_take_part(federation: Federation) -> None:
    server = federation.server("--numrounds", "1", "--minclients", "1")
    client = federation.client("ada")
    assert hash_of(server) == expected_hash([["ada"]])
    assert client.result()["failed"] == 0
    assert server.log.count("may take part: --trust says who may") == 1
