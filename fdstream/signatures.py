"""Signatures of records: Ed25519 (RFC 8032), over a record's own bytes.

A signature is the last field of a record: null, or the signer's public key and 64 bytes. What is signed is `DOMAIN`
followed by the record's encoding up to that field. The encoding begins with its schema's fingerprint, so a signature
of one kind of record is none of another; and every signed record carries the federation's nonce (FederationOpened its
name as well), its round and what else it is about, so a copy in another place is what it would be there: noise.

Who may sign what is not decided here. This file knows no records, no files and no trust; `cryptography` (the extra
`keys`) is imported when a signature is made or checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from fdstream.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

DOMAIN: Final = b"fdstream-signed-record-1\x00"
KEY_BYTES: Final = 32
VALUE_BYTES: Final = 64
_ABSENT: Final = b"\x00"  # the union's first branch, null
_PRESENT: Final = b"\x02"  # its second, key and value
_FIELD_BYTES: Final = len(_PRESENT) + KEY_BYTES + VALUE_BYTES

Sign = Callable[[bytes], bytes]
"""Takes a record's bytes without a signature and returns them with one."""


class SigningKey:
    """A private key. Its text shows the public one, so that no log or traceback can show more."""

    def __init__(self, private: ed25519.Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @staticmethod
    def of(seed: bytes) -> SigningKey:
        """The key of 32 secret bytes. Raises `UsageError` where the library for it is not installed."""
        check_installed()
        from cryptography.hazmat.primitives.asymmetric import ed25519

        return SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(seed))

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"

    def sign(self, value: bytes) -> bytes:
        """A record's bytes without a signature become its bytes with one."""
        assert value.endswith(_ABSENT), "the record is signed already, or cannot be"
        head = value[: -len(_ABSENT)]
        return b"".join((head, _PRESENT, self.public, self._private.sign(DOMAIN + head)))


def is_genuine(value: bytes) -> bool:
    """Whether the signature in a signed record's bytes is that of the key in it, over the rest of the record.

    Raises `UsageError` where the library for it is not installed.
    """
    head, field = value[:-_FIELD_BYTES], value[-_FIELD_BYTES:]
    key, signature = field[1 : 1 + KEY_BYTES], field[1 + KEY_BYTES :]
    return field.startswith(_PRESENT) and _verifies(key, signature, DOMAIN + head)


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    public = _public(key)
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)
def _public(key: bytes) -> ed25519.Ed25519PublicKey:
    check_installed()
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PublicKey.from_public_bytes(key)


def check_installed() -> None:
    """Raises `UsageError` where signatures can be neither made nor checked."""
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError("signed records need cryptography: pip install 'fdstream[keys]'") from error
