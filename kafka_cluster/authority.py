"""A certificate authority for one cluster on this machine: its own certificate, and those it signs.

Knows X.509 and PEM, no Kafka. Keys are ECDSA on P-256, unencrypted PKCS #8, in files that only their owner reads.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fdstream.errors import UsageError

LIFETIME = datetime.timedelta(days=3650)
_CLOCK_TOLERANCE = datetime.timedelta(days=1)
_SIGNS = {"key_cert_sign": True, "crl_sign": True}
_USES = {"digital_signature": True}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Authority:
    """Signs certificates. Made once a folder and kept there, so that what it signed stays valid."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """That of `ca.pem` and `ca-key.pem`, made where there is none. `UsageError` where they are damaged."""
        certificate_file, key_file = folder / "ca.pem", folder / "ca-key.pem"
        if not key_file.exists():
            made = cls._new()
            certificate_file.write_bytes(_pem(made._certificate))
            write_secret(key_file, _pem_of_key(made._key))  # last: it is the mark of a whole authority
            return made
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except ValueError as error:
            raise UsageError(
                f"{folder} holds a damaged ca.pem or ca-key.pem ({error}): name a new folder with --secure, "
                "and hand its files out anew"
            ) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key, certificate)

    @classmethod
    def _new(cls) -> Self:
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("fdstream local authority")
        builder = _builder(name, name, key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        return cls(key, builder.add_extension(_usage(_SIGNS), critical=True).sign(key, hashes.SHA256()))

    def issue(self, path: Path, name: str, hosts: Iterable[str] = ()) -> None:
        """Write a new key and its certificate, for common name `name` and as a server on `hosts`, to one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._certificate.subject, key)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(_usage(_USES), critical=True)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [_host(host) for host in hosts]
        if names:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        write_secret(path, _pem_of_key(key) + _pem(certificate))


def write_secret(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner may read, at no moment readable by others."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    part.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + LIFETIME)
    )


def _usage(granted: dict[str, bool]) -> x509.KeyUsage:
    return x509.KeyUsage(**(dict.fromkeys(_USAGES, False) | granted))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
