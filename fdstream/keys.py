"""Key files: made, read with their permissions checked, and watched for changes. The extra `keys`.

A private key is PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. Public keys stand one a line,
`ed25519:BASE64 NAME`, in a file or in the `*.pub` files of a directory; a name has one key. What a private key is
leaves this file only inside a `SigningKey`: no message and no log quotes what a key file holds. Where there are no
files, as in a cloud function, a key's text does as well.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fdstream.errors import UsageError
from fdstream.messages import MAX_NAME_LENGTH
from fdstream.signatures import KEY_BYTES, SigningKey, check_installed
from fdstream.trust import Trust

logger = logging.getLogger("fdstream.keys")
RELOAD_SECONDS = 1.0
_KIND = "ed25519:"
_PEM_BEGIN = "-----BEGIN "
_PEM = re.compile(r"(-----BEGIN [A-Z0-9 ]+-----)\s*([A-Za-z0-9+/=\s]*?)\s*(-----END [A-Z0-9 ]+-----)")


def new_pair(name: str, stem: Path) -> tuple[Path, Path]:
    """Write `<stem>.key`, readable by its owner alone, and `<stem>.pub`. Raises `UsageError` where one exists."""
    check_installed()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    private_path, public_path = Path(f"{stem}.key"), Path(f"{stem}.pub")
    _create(public_path, f"{public_line(key.public_key().public_bytes_raw(), name)}\n".encode(), 0o644)
    try:
        _create(private_path, private, 0o600)
    except BaseException:
        public_path.unlink()
        raise
    return private_path, public_path


def public_line(key: bytes, name: str) -> str:
    """A public key as it stands in files."""
    return f"{_KIND}{base64.b64encode(key).decode()} {name}"


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise UsageError(
            f"{path} exists and is not overwritten: move it away, or choose another --output"
        ) from None
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)


def is_private_text(text: str) -> bool:
    """Whether this is a private key itself, and no file's name."""
    return _PEM_BEGIN in text


def is_public_text(text: str) -> bool:
    """Whether these are public keys themselves, and no file's name."""
    return text.lstrip().startswith(_KIND)


def load_private(source: str | Path) -> SigningKey:
    """The private key in a file, or in a text. Raises `UsageError` where others may read the file, or it is none."""
    check_installed()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if isinstance(source, str) and is_private_text(source):
        where, content = "the text given as a key", _mended(source)
    else:
        where, path = str(source), Path(source)
        content = _read(path, stat.S_IRWXG | stat.S_IRWXO, "a private key that others may use", "600")
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"{where} holds no Ed25519 private key: make one with `fdstream keys new NAME`")
    return SigningKey(private)


def _mended(text: str) -> bytes:
    """Consoles make spaces, and JSON makes backslashes, of the line breaks that PEM needs."""
    found = _PEM.search(text.replace("\\n", "\n"))
    return b"" if found is None else "\n".join((found[1], *found[2].split(), found[3], "")).encode()


def key_of(directory: Path, client: str) -> Path | None:
    """The file `CLIENT.key` in a directory of private keys, if it is there; no name leads out of it."""
    return next((path for path in directory.iterdir() if path.name == f"{client}.key"), None)


def load_public(source: str | Path) -> dict[str, bytes]:
    """Public keys by name from a file, from the `*.pub` files of a directory, or from a text.

    Raises `UsageError` where there is none, a line is none, or a name has two.
    """
    keys: dict[str, bytes] = {}
    for line, where in _lines(source):
        name, key = _parse(line, where)
        if keys.setdefault(name, key) != key:
            raise UsageError(f"{where}: {name!r} has another key already: a name has one key")
    if not keys:
        what = "no *.pub file in it has a key" if Path(source).is_dir() else "no key is in it"
        raise UsageError(f"{source}: {what}: make keys with `fdstream keys new NAME`")
    return keys


def _lines(source: str | Path) -> Iterator[tuple[str, str]]:
    """Every line with a key, and where it stands."""
    if isinstance(source, str) and is_public_text(source):
        texts = [("the text given as public keys", source)]
    else:
        what = "a list of trusted keys that everybody may change"
        texts = [
            (str(file), _read(file, stat.S_IWOTH, what, "o-w").decode(errors="replace"))
            for file in _files(Path(source))
        ]
    for name, text in texts:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.startswith("#"):
                yield line, f"{name}, line {number}"


def _parse(line: str, where: str) -> tuple[str, bytes]:
    text, _, name = line.strip().partition(" ")
    try:
        key = base64.b64decode(text.removeprefix(_KIND), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_KIND) or len(key) != KEY_BYTES:
        raise UsageError(
            f"{where}: expected 'ed25519:BASE64 NAME', as in the *.pub file of `fdstream keys new NAME`"
        )
    name = name.strip()
    if not (name and name.isprintable() and len(name) <= MAX_NAME_LENGTH):
        raise UsageError(f"{where}: the key has no name of 1 to {MAX_NAME_LENGTH} printable characters")
    return name, key


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.pub")) if path.is_dir() else [path]


def _read(path: Path, forbidden: int, what: str, mode: str) -> bytes:
    """A key file's content, unless its mode has one of the bits that are forbidden."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & forbidden:
                raise UsageError(f"{path} is {what}: run chmod {mode} {shlex.quote(str(path))}")
            return file.read()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


class TrustFile:
    """The clients' public keys in a file or directory, looked at again when it has changed."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises `UsageError` where the keys cannot be used."""
        self._path = path
        self._monotonic = monotonic
        self._looked_seconds = monotonic()
        self._seen = tuple(_stamps(path))
        self.trust = Trust(load_public(path))

    def poll(self) -> Trust | None:
        """The keys, if they have changed since the last call; at most once a second it looks.

        A file that cannot be used is told of, and what was trusted before stays trusted.
        """
        if self._monotonic() < self._looked_seconds + RELOAD_SECONDS:
            return None
        self._looked_seconds = self._monotonic()
        seen = tuple(_stamps(self._path))
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            self.trust = Trust(load_public(self._path))
        except UsageError as error:
            logger.error("the trusted keys were not loaded again", extra={"reason": str(error)})
            return None
        logger.info("the trusted keys were loaded again", extra={"clients": len(self.trust.keys or ())})
        return self.trust


def _stamps(path: Path) -> Iterator[tuple[object, ...]]:
    """What changes when a file does."""
    for file in _files(path):
        try:
            found = file.stat()
        except OSError:
            yield str(file), None
        else:
            yield str(file), found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
