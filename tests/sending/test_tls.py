"""Receivers behind TLS: each fault has a sentence of its own, and nothing else is tried (H10)."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

import pycurl
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.common.states import ErrorClass
from relay.sending.attempt_errors import of_failure
from relay.sending.rules.outbound import Reply
from tests.support.chaos import Chaos, answering
from tests.support.sender_client import OK, MakeSenderClient, OneByOne, send, server_context


def over_tls(sender_client: OneByOne, context: ssl.SSLContext) -> Reply:
    """Send to a receiver with this certificate; whatever comes of it, it came of one connection."""
    with Chaos(answering(OK), tls=context) as receiver:
        reply = send(sender_client, f"https://127.0.0.1:{receiver.port}/")
        assert receiver.connections == 1
    return reply


def refusal(reply: Reply) -> str | None:
    assert (reply.error, reply.status_code, reply.body) == (ErrorClass.TLS, None, b"")
    return reply.detail


def test_our_own_authority_is_trusted_beside_the_public_ones(
    trusting: OneByOne, authority: trustme.CA
) -> None:
    assert over_tls(trusting, server_context(authority.issue_cert("127.0.0.1"))).error is None


def test_connections_are_reused(trusting: OneByOne, authority: trustme.CA) -> None:
    with Chaos(answering(OK), tls=server_context(authority.issue_cert("127.0.0.1"))) as receiver:
        replies = [send(trusting, f"https://127.0.0.1:{receiver.port}/") for _ in range(5)]
        assert receiver.connections == 1
    assert {reply.error for reply in replies} == {None}


def test_H10_an_unknown_authority(sender_client: OneByOne, authority: trustme.CA) -> None:
    assert refusal(over_tls(sender_client, server_context(authority.issue_cert("127.0.0.1")))) == (
        "the receiver's certificate is not signed by an authority that the relay trusts,"
        " or it does not send its intermediate certificates"
    )


def test_H10_an_expired_certificate(trusting: OneByOne, authority: trustme.CA) -> None:
    past = datetime.now(tz=UTC) - timedelta(days=1)
    context = server_context(authority.issue_cert("127.0.0.1", not_after=past))
    assert refusal(over_tls(trusting, context)) == "the receiver's certificate has expired"


def test_H10_a_certificate_for_another_host(trusting: OneByOne, authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("other.test"))
    assert refusal(over_tls(trusting, context)) == "the receiver's certificate is for another host name"


def test_H10_a_self_signed_certificate(sender_client: OneByOne, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "own.pem"))
    assert refusal(over_tls(sender_client, context)) == (
        "the receiver's certificate is self-signed; add its authority to RELAY_CALLBACK_CA_FILE to trust it"
    )


def self_signed(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_H10_tls_that_is_too_old(trusting: OneByOne, authority: trustme.CA, newest: ssl.TLSVersion) -> None:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.deprecated_call():
        context.maximum_version = newest
    assert refusal(over_tls(trusting, context)) == "the receiver's TLS is too old: TLS 1.2 or newer is needed"


def test_H10_a_port_that_speaks_no_tls(sender_client: OneByOne) -> None:
    with Chaos(lambda connection: connection.send(OK)) as receiver:
        reply = send(sender_client, f"https://127.0.0.1:{receiver.port}/")
        assert receiver.connections == 1
    assert refusal(reply) == (
        "the receiver does not speak TLS on this port; is the URL's scheme or port wrong?"
    )


def test_a_handshake_that_hangs_ends_with_the_connect_timeout(make_sender_client: MakeSenderClient) -> None:
    started = monotonic()
    with Chaos(lambda connection: connection.hang()) as receiver:
        reply = send(make_sender_client(connect_timeout=0.5), f"https://127.0.0.1:{receiver.port}/")
    assert (reply.error, reply.detail) == (ErrorClass.TIMEOUT, "no connection could be made within 0.5 s")
    assert monotonic() - started < 2


@pytest.mark.parametrize(
    ("code", "error", "named"),
    [
        (pycurl.E_SSL_CACERT_BADFILE, ErrorClass.INTERNAL, "RELAY_CALLBACK_CA_FILE"),
        (pycurl.E_OUT_OF_MEMORY, ErrorClass.INTERNAL, "libcurl's code 27"),
        (12_345, ErrorClass.INTERNAL, "libcurl's code 12345"),
        (pycurl.E_FTP_WEIRD_SERVER_REPLY, ErrorClass.PROTOCOL, "not HTTP/1.1"),
        (pycurl.E_GOT_NOTHING, ErrorClass.PROTOCOL, "closed the connection"),
    ],
)
def test_a_fault_of_our_own_is_not_the_receivers(code: int, error: ErrorClass, named: str) -> None:
    attempt_error = of_failure(
        code, "", verify_result=0, os_error=0, connected=True, deadline=1, connect_timeout=1
    )
    assert attempt_error.error is error
    assert named in attempt_error.detail
