"""Key files: made once, for their owner alone, read with care, and looked at again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fdstream.errors import UsageError
from fdstream.keys import (
    RELOAD_SECONDS,
    TrustFile,
    is_private_text,
    key_of,
    load_private,
    load_public,
    new_pair,
    public_line,
)
from fdstream.signatures import is_genuine
from fdstream.trust import Trust
from tests.server.records import report
from tests.signing import ADA, BOB, MALLORY, signed


def test_a_new_pair_signs_and_is_recognised(tmp_path: Path) -> None:
    private, public = new_pair("Hôpital 3", tmp_path / "h3")
    assert private.stat().st_mode & 0o777 == 0o600
    assert public.stat().st_mode & 0o777 == 0o644
    key = load_private(private)
    assert load_public(public) == {"Hôpital 3": key.public}
    assert is_genuine(signed(report("ada"), key))


@pytest.mark.parametrize("suffix", [".key", ".pub"])
def test_nothing_is_overwritten_and_nothing_is_left_half_done(tmp_path: Path, suffix: str) -> None:
    there = tmp_path / f"ada{suffix}"
    there.write_text("mine")
    with pytest.raises(UsageError, match=f"ada{suffix} exists and is not overwritten"):
        new_pair("ada", tmp_path / "ada")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there.name, "mine")]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_private_key_that_others_may_use_is_refused_with_what_to_run(tmp_path: Path, mode: int) -> None:
    private, _ = new_pair("ada", tmp_path / "a da")
    private.chmod(mode)
    with pytest.raises(UsageError, match=rf"run chmod 600 '{private}'"):
        load_private(private)
    private.chmod(0o400)
    load_private(private)


def test_a_list_that_everybody_may_change_is_refused(tmp_path: Path) -> None:
    _, public = new_pair("ada", tmp_path / "ada")
    public.chmod(0o666)
    with pytest.raises(UsageError, match=f"run chmod o-w {public}"):
        load_public(public)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    "content", [b"", b"secret-text", b"\xff\xfe", pem(rsa.generate_private_key(65537, 2048))]
)
def test_what_is_no_private_key_is_said_without_being_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="holds no Ed25519 private key: make one with") as caught:
        load_private(path)
    assert caught.value.__cause__ is None
    assert "secret-text" not in str(caught.value)


@pytest.mark.parametrize(
    "kept",
    [
        lambda text: text,
        lambda text: text.replace("\n", " "),
        lambda text: text.replace("\n", "\\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", ""),
    ],
)
def test_a_private_keys_text_does_as_well_whatever_became_of_its_line_breaks(
    tmp_path: Path, kept: Callable[[str], str]
) -> None:
    private, _ = new_pair("ada", tmp_path / "ada")
    text = kept(private.read_text())
    assert is_private_text(text)
    assert load_private(text).public == load_private(private).public


def test_a_text_that_is_no_key_is_not_shown() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXRleHQ=\n-----END PRIVATE KEY-----"
    for wrong in (text, text[:-9], text.replace("c2V", "?")):
        with pytest.raises(
            UsageError, match="the text given as a key holds no Ed25519 private key"
        ) as caught:
            load_private(wrong)
        assert "cmV0LXRleHQ" not in str(caught.value)


def test_public_keys_text_does_as_well() -> None:
    text = f"{GOOD}\n\n# a server\n{public_line(BOB.public, 'bob')}\n"
    assert load_public(text) == {"ada": ADA.public, "bob": BOB.public}
    with pytest.raises(UsageError, match="the text given as public keys, line 2: expected"):
        load_public(f"{GOOD}\nnonsense")


def test_a_directory_has_a_private_key_for_each_client_and_no_name_leads_out_of_it(tmp_path: Path) -> None:
    new_pair("ada", tmp_path / "ada")
    (tmp_path / "inner").mkdir()
    assert key_of(tmp_path, "ada") == tmp_path / "ada.key"
    for name in ("bob", "inner/../ada", "../ada", f"{tmp_path}/ada", "ada.key", ""):
        assert key_of(tmp_path / "inner", name) is None
        assert key_of(tmp_path, name) is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for load in (load_private, load_public):
        with pytest.raises(UsageError, match=f"cannot read {tmp_path / 'none'}: No such file"):
            load(tmp_path / "none")


GOOD = public_line(ADA.public, "ada")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no key is in it"),
        ("# nobody\n\n", "no key is in it"),
        ("ada\n", "line 1: expected 'ed25519:BASE64 NAME'"),
        (f"{GOOD}\ned25519:AAAA bob\n", "line 2: expected"),
        (GOOD.removeprefix("ed25519:"), "line 1: expected"),
        (GOOD.removesuffix(" ada"), "line 1: the key has no name"),
        (f"{GOOD}\n{public_line(BOB.public, 'ada')}", "'ada' has another key already: a name has one key"),
    ],
)
def test_a_list_that_cannot_be_read_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "clients"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_public(path)


def test_a_directory_is_one_list(tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text(f"{GOOD}\n{public_line(BOB.public, 'bob 2')}\n")
    (tmp_path / "b.pub").write_text(f"# again\n{GOOD}\n")
    (tmp_path / "notes.txt").write_text("not a key")
    assert load_public(tmp_path) == {"ada": ADA.public, "bob 2": BOB.public}
    (tmp_path / "c.pub").write_text(public_line(MALLORY.public, "ada"))
    with pytest.raises(UsageError, match="'ada' has another key already"):
        load_public(tmp_path)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def wait(self) -> None:
        self.seconds += RELOAD_SECONDS


def test_a_list_is_read_again_when_it_changes_and_kept_when_it_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, first, second = Clock(), tmp_path / "a.pub", tmp_path / "b.pub"
    first.write_text(GOOD)
    file = TrustFile(tmp_path, clock)
    assert file.trust == Trust({"ada": ADA.public})
    second.write_text(public_line(BOB.public, "bob"))
    assert file.poll() is None  # not before a second has passed
    clock.wait()
    assert file.poll() == file.trust == Trust({"ada": ADA.public, "bob": BOB.public})
    clock.wait()
    assert file.poll() is None
    second.write_text("broken")
    os.utime(second, (1, 1))
    clock.wait()
    assert file.poll() is None
    assert file.trust.keys is not None
    assert "bob" in file.trust.keys
    assert "were not loaded again" in caplog.text
    first.unlink()
    second.write_text(public_line(BOB.public, "bob"))
    clock.wait()
    assert file.poll() == Trust({"bob": BOB.public})
