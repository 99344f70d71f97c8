"""A secured cluster: its folder of certificates and sign-ins, and what its nodes are told.

Three listeners a node. CLIENTS, where the world connects: TLS, sign-in by SCRAM-SHA-512. BROKER and CONTROLLER, on
loopback: mutual TLS, for the nodes themselves and the administrator. Everything that is not granted is denied.

ca.pem        the authority's certificate: everybody needs it, and nothing else of it is public
ca-key.pem    the authority's key
broker.pem    key and certificate of the nodes, made at every start
USER.pem      key and certificate of a user, for mutual TLS
USER.toml     where to connect and how to sign in: for `fdstream … --config`
"""

from __future__ import annotations

import json
import secrets
import ssl
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from fdstream.errors import UsageError
from kafka_cluster.authority import Authority, write_secret
from kafka_cluster.settings import Address

MECHANISM = "SCRAM-SHA-512"
ITERATIONS = 4096  # the least that Kafka takes; the passwords are random
ADMIN = "admin"
USERS = ("server", "client", "viewer", ADMIN)
_NODE = "broker"
_LOOPBACK = ("127.0.0.1", "localhost")


class Security:
    """An open folder of a secured cluster; made whole where it is new.

    Errors: `UsageError` where the folder cannot be written, holds other files, or is damaged.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder.expanduser().absolute()
        try:
            self._prepare(host)
        except OSError as error:
            raise UsageError(
                f"cannot keep keys in {self.folder}: {error.strerror or error}; name another folder with --secure"
            ) from error

    def _prepare(self, host: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self._file("ca-key.pem").exists()
        if not known and any(self.folder.iterdir()):
            raise UsageError(
                f"{self.folder} holds other files and no keys of ours: name an empty or new folder with --secure"
            )
        self.folder.chmod(0o700)
        authority = Authority.in_folder(self.folder)
        authority.issue(self._file(f"{_NODE}.pem"), _NODE, dict.fromkeys((host, *_LOOPBACK)))
        for user in USERS:
            if not self._file(f"{user}.pem").exists():
                authority.issue(self._file(f"{user}.pem"), user)
        self.passwords = {user: self._password(user) for user in USERS}

    def config_file(self, user: str) -> Path:
        """The user's options for `fdstream`."""
        return self._file(f"{user}.toml")

    def write_config_files(self, bootstrap: str) -> None:
        """Say to each user where to connect now, and how to sign in."""
        for user in USERS:
            write_secret(self.config_file(user), _toml(bootstrap, self.sign_in(user)).encode())

    def sign_in(self, user: str) -> dict[str, str]:
        """librdkafka's settings for the CLIENTS listener."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": self.passwords[user],
            "ssl.ca.location": str(self._file("ca.pem")),
        }

    def mutual_tls(self, user: str) -> dict[str, str]:
        """librdkafka's settings for the BROKER listener."""
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self._file("ca.pem")),
            "ssl.key.location": str(self._file(f"{user}.pem")),
            "ssl.certificate.location": str(self._file(f"{user}.pem")),
        }

    def let_in(self, bootstrap: str) -> None:
        """Tell the cluster the users' passwords; `bootstrap` is the BROKER listener. Errors: KafkaException."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        wanted: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(user, info, word.encode()) for user, word in self.passwords.items()
        ]
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, **self.mutual_tls(ADMIN)})
        for future in admin.alter_user_scram_credentials(wanted).values():
            future.result()

    def context(self) -> ssl.SSLContext:
        """To connect to the BROKER listener as the administrator."""
        context = ssl.create_default_context(cafile=str(self._file("ca.pem")))
        context.load_cert_chain(str(self._file(f"{ADMIN}.pem")))
        return context

    def properties(self, address: Address) -> Mapping[str, str]:
        """Kafka's properties for one node."""
        store = _escaped(self._file(f"{_NODE}.pem"))
        return {
            **_listeners(address),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": _escaped(self._file("ca.pem")),
            **_ACCESS,
        }

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _password(self, user: str) -> str:
        path = self.config_file(user)
        if not path.exists():
            return secrets.token_urlsafe(24)
        try:
            return str(tomllib.loads(path.read_text("utf-8"))["kafka"]["sasl.password"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is damaged ({error}): delete it, and a new one is made") from error


def _listeners(address: Address) -> dict[str, str]:
    own = f"BROKER://127.0.0.1:{address.broker_port}"
    return {
        "listeners": f"CLIENTS://{address.bootstrap},{own},CONTROLLER://127.0.0.1:{address.controller_port}",
        "advertised.listeners": f"CLIENTS://{address.bootstrap},{own}",
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,BROKER:SSL,CONTROLLER:SSL",
        "sasl.enabled.mechanisms": MECHANISM,
        f"listener.name.clients.{MECHANISM.lower()}.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.broker.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        # A certificate for CN=client is the principal User:client, as is its sign-in by password.
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
    }


_ACCESS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:{_NODE};User:{ADMIN}",
}


def _escaped(path: Path) -> str:
    """A path as Java reads it from a properties file: Latin-1, with escapes for the rest."""
    text = str(path).replace("\\", "\\\\")
    units = text.encode("utf-16-be")
    codes: Sequence[int] = [
        int.from_bytes(units[place : place + 2], "big") for place in range(0, len(units), 2)
    ]
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def _toml(bootstrap: str, settings: Mapping[str, str]) -> str:
    """TOML's basic strings are JSON's, for text without control characters."""
    rows = [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join([f"broker = {json.dumps(bootstrap)}", "", "[kafka]", *rows, ""])
