"""A secured cluster's folder: what is in it, who may read it, that it is kept; and what Java reads as its path."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from fdstream.errors import UsageError
from kafka_cluster.security import USERS, Security
from kafka_cluster.settings import Address

ADDRESS = Address(0, "127.0.0.1", 9091, 9191, 9291)
PUBLIC = "ca.pem"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_authoritys_certificate_is_for_everybody(tmp_path: Path) -> None:
    security = Security(tmp_path / "keys", "127.0.0.1")
    security.write_config_files("127.0.0.1:9091")
    assert mode(security.folder) == 0o700
    secret = {"ca-key.pem", "broker.pem", *(f"{user}.{kind}" for user in USERS for kind in ("pem", "toml"))}
    assert {path.name for path in security.folder.iterdir()} == secret | {PUBLIC}
    assert {mode(security.folder / name) for name in secret} == {0o600}


def test_a_folder_is_kept_over_starts(tmp_path: Path) -> None:
    first = Security(tmp_path, "127.0.0.1")
    first.write_config_files("127.0.0.1:9091")
    kept = {name: (tmp_path / name).read_bytes() for name in (PUBLIC, "ca-key.pem", "client.pem")}
    second = Security(tmp_path, "localhost")
    assert second.passwords == first.passwords
    assert len(set(first.passwords.values())) == len(USERS)
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept


def test_the_nodes_certificate_names_the_host_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    security = Security(tmp_path, "broker.example")
    certificate = x509.load_pem_x509_certificate((tmp_path / "broker.pem").read_bytes())
    authority = x509.load_pem_x509_certificate((tmp_path / PUBLIC).read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert security.context().verify_mode is ssl.CERT_REQUIRED


def test_a_folder_of_other_things_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").touch()
    with pytest.raises(UsageError, match="holds other files"):
        Security(tmp_path / "theirs", "127.0.0.1")
    Security(tmp_path / "ours", "127.0.0.1")
    (tmp_path / "ours" / PUBLIC).write_text("no certificate")
    with pytest.raises(UsageError, match="damaged"):
        Security(tmp_path / "ours", "127.0.0.1")
    with pytest.raises(UsageError, match="--secure"):
        Security(tmp_path / "theirs" / "file", "127.0.0.1")


@pytest.mark.parametrize("name", ["plain", "gro\u00dfe, 100%", "\U0001f511\\u0041"])
def test_java_reads_the_path_it_was_told(tmp_path: Path, name: str) -> None:
    location = Security(tmp_path / name, "127.0.0.1").properties(ADDRESS)["ssl.keystore.location"]
    assert location.isascii()
    assert _as_java_reads(location) == str(tmp_path / name / "broker.pem")


def _as_java_reads(text: str) -> str:
    """java.util.Properties: a backslash doubled is one, and \\uXXXX is a UTF-16 unit."""
    units = b""
    while text:
        if text.startswith("\\u"):
            units, text = units + bytes.fromhex(text[2:6]), text[6:]
        else:
            character, text = (text[1], text[2:]) if text[0] == "\\" else (text[0], text[1:])
            units += character.encode("utf-16-be")
    return units.decode("utf-16-be")
