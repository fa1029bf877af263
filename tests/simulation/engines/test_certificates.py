"""The true SuperLink is told from any other, and a key is its owner's alone."""

import http.server
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from simulation.engines.certificates import LOOPBACK, Certificates, make_node_key


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path / "tls", LOOPBACK)


@pytest.fixture
def url(certificates: Certificates):
    """A server that shows the certificate."""
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certificates.certificate, certificates.key)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = shown.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/nothing-there"
    server.shutdown()
    server.server_close()


def asked(url: str, authority: Path) -> int:
    trusted = ssl.create_default_context(cafile=str(authority))
    try:
        return urllib.request.urlopen(url, context=trusted).status
    except urllib.error.HTTPError as answer:
        return answer.code


def test_who_has_the_authority_knows_the_server_by_its_address(certificates, url):
    assert asked(url, certificates.authority) == 404


def test_another_authority_does_not_know_it(url, tmp_path):
    other = Certificates.make(tmp_path / "other", LOOPBACK)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        asked(url, other.authority)


def test_a_certificate_for_other_hosts_is_refused(tmp_path):
    elsewhere = Certificates.make(tmp_path / "tls", ("192.0.2.7", "cloud.example"))
    shown = subprocess.run(
        ["openssl", "x509", "-in", elsewhere.certificate, "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "IP Address:192.0.2.7" in shown and "DNS:cloud.example" in shown
    assert "127.0.0.1" not in shown


def test_secrets_are_for_their_owner_only(certificates, tmp_path):
    public = make_node_key(tmp_path / "node.key")
    for secret in (certificates.key, tmp_path / "node.key"):
        assert secret.stat().st_mode & 0o077 == 0
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "node.key"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert derived.split()[:2] == public.read_text().split()[:2]
    assert sorted(path.name for path in certificates.folder.iterdir()) == [
        "authority.pem",
        "server.key",
        "server.pem",
    ]
