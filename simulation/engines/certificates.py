"""Who is who in a deployment: a certificate for the SuperLink, a key for each node.

    tls/
      authority.pem   everybody has it: it tells the true SuperLink from any other
      server.pem      the SuperLink's certificate; it names the hosts and addresses it answers at
      server.key      the SuperLink's private key
    node.key          a node's private key; stays on the node
    node.key.pub      its other half; the SuperLink lets in whose public key was registered

The authority signs one certificate and its own key is thrown away: nobody can sign another one.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=397)  # what verifiers take for the longest life of a certificate
CLOCK_SKEW = timedelta(hours=1)
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of a SuperLink.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    @property
    def authority(self) -> Path:
        """What everybody else has."""
        return self.folder / "authority.pem"

    @property
    def certificate(self) -> Path:
        """The SuperLink's certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.folder / "server.key"

    def arguments(self) -> list[str]:
        """What `flower-superlink` wants to hear."""
        return [
            "--ssl-ca-certfile",
            str(self.authority),
            "--ssl-certfile",
            str(self.certificate),
            "--ssl-keyfile",
            str(self.key),
        ]

    @classmethod
    def make(cls, folder: Path, hosts: Sequence[str]) -> "Certificates":
        """Write new ones for a SuperLink that is reached at these names or addresses.

        Loopback must be among them: the SuperLink's own processes reach it there.
        """
        made = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        authority_key, server_key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
        issuer = _named("Pocketfleet authority")
        authority = (
            _blank(issuer, issuer, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(authority_key, hashes.SHA384())
        )
        names = [_alternative(host) for host in dict.fromkeys(hosts)]
        server = (
            _blank(_named("Pocketfleet SuperLink"), issuer, server_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
            .sign(authority_key, hashes.SHA384())
        )
        made.authority.write_bytes(authority.public_bytes(Encoding.PEM))
        made.certificate.write_bytes(server.public_bytes(Encoding.PEM))
        pem = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_secret(made.key, pem)
        return made


def make_node_key(path: Path) -> Path:
    """Write a node's private key; return the file of its public key, beside it.

    The same as `ssh-keygen -t ecdsa -b 384 -N "" -f PATH`.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    _write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = path.with_name(f"{path.name}.pub")
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return public


def _blank(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """What both certificates have."""
    now, public = datetime.now(UTC), key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.GeneralName:
    """An address has a kind of entry of its own; as a name it would never match."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can ever read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
