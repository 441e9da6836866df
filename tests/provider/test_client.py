"""The client against the sandbox, and servers that drip, hang, flood, redirect, lie and hang up."""

import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.provider.list_ai_job.client import ListAIJob
from relay.provider.list_ai_job.credentials import static
from relay.provider.list_ai_job.rules.signing import Credentials
from relay.provider.source import Answered, Outcome, RefusalKind, Refused, Unreachable, Unreadable
from tests.support.provider import (
    START,
    Clock,
    Provider,
    Script,
    ScriptedServer,
    eventually,
    reply,
    running_provider,
    scripted_server,
)

EMPTY = b'{"RequestId": "R", "NonExistAIJobIds": {"String": ["a"]}}'
JSON = {"Content-Type": "application/json"}


def client_of(server: ScriptedServer, *, timeout: float = 10, max_bytes: int = 1_000_000) -> ListAIJob:
    return ListAIJob(server.url, static("id", "secret"), timeout=timeout, max_bytes=max_bytes)


def call_threads() -> int:
    return sum(thread.name == "listaijob" for thread in threading.enumerate())


@pytest.mark.parametrize("signature", ["v3", "v1"])
def test_jobs_are_read(provider: Provider, signature: str) -> None:
    done, failed, going = provider.make_jobs(
        {"type": "AIVideoTag", "outcome": "success", "seconds": 0},
        {"type": "AIMediaDNA", "outcome": "fail", "seconds": 0},
        {"type": "AIMediaDNA", "outcome": "fail", "seconds": 1000},
    )
    client = provider.client(signature=signature)
    outcome = client.ask([done, failed, going, "nobody", "a b*~+中/文"])
    client.close()
    assert isinstance(outcome, Answered)
    reports = outcome.answer.reports
    assert {job_id: report.status for job_id, report in reports.items()} == {
        done: JobStatus.SUCCESS,
        failed: JobStatus.FAIL,
        going: JobStatus.OPEN,
    }
    assert reports[done].data_is_json
    assert outcome.answer.missing == {"nobody", "a b*~+中/文"}
    assert 0 < outcome.duration < 10 * US_PER_SECOND


def test_sts_credentials_are_asked_for_anew_at_every_call() -> None:
    keys = [
        Credentials("STS.x", "s", "tok+en=="),
        Credentials("STS.x", "s", "old"),
        Credentials("STS.y", "s"),
    ]
    with running_provider(credentials=keys[0]) as provider:
        turns = iter(keys)
        client = ListAIJob(provider.url, lambda: next(turns))
        assert isinstance(client.ask(["a"]), Answered)
        codes = [_refused(client.ask(["a"])).code for _ in range(2)]
        client.close()
    assert codes == ["InvalidSecurityToken.Malformed", "InvalidAccessKeyId.NotFound"]


def _refused(outcome: Outcome) -> Refused:
    assert isinstance(outcome, Refused)
    return outcome


def test_connections_are_kept_between_calls() -> None:
    with scripted_server(lambda sock, _: sock.sendall(reply("200 OK", JSON, EMPTY))) as server:
        client = client_of(server)
        assert [type(client.ask(["a"])) for _ in range(3)] == [Answered] * 3
        assert server.connections == 1
        client.close()
        assert server.hung_up.wait(10)
    head = server.requests[0].decode().lower()
    assert head.startswith("get /?jobids=a http/1.1\r\n")
    assert "\r\naccept: application/json\r\n" in head
    assert f"\r\nhost: {server.url.removeprefix('http://')}\r\n" in head
    assert "format" not in head


def test_threads_may_share_a_client() -> None:
    with scripted_server(lambda sock, _: sock.sendall(reply("200 OK", JSON, EMPTY))) as server:
        client = client_of(server)
        outcomes: list[Outcome] = []

        def ask_often() -> None:
            outcomes.extend(client.ask(["a"]) for _ in range(20))

        threads = [threading.Thread(target=ask_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert [type(outcome) for outcome in outcomes] == [Answered] * 80
    assert server.connections <= 4


@pytest.mark.parametrize("count", [0, 11])
def test_one_call_asks_about_one_to_ten_ids(count: int) -> None:
    client = ListAIJob("http://127.0.0.1:9", static("id", "secret"))
    with pytest.raises(ValueError, match="1 to 10"):
        client.ask(["a"] * count)


def test_a_nonce_used_before_is_replaced_once(provider: Provider) -> None:
    nonces = iter(["one", "one", "two", "one", "two"])
    client = provider.client(nonce=lambda: next(nonces))
    assert isinstance(client.ask(["a"]), Answered)
    assert isinstance(client.ask(["a"]), Answered)
    refused = _refused(client.ask(["a"]))
    client.close()
    assert (refused.kind, refused.code) == (RefusalKind.SIGN_AGAIN, "SignatureNonceUsed")
    assert provider.calls()["calls"] == 5


@pytest.mark.parametrize("signature", ["v3", "v1"])
@pytest.mark.parametrize("minutes", [-40, 40])
def test_a_wrong_clock_is_corrected_and_stays_so(signature: str, minutes: int) -> None:
    theirs, ours = Clock(), Clock(START + minutes * 60 * US_PER_SECOND)
    with running_provider(clock=theirs) as provider:
        client = provider.client(signature=signature, clock=ours)
        assert isinstance(client.ask(["a"]), Answered)
        assert client.clock_offset == -minutes * 60 * US_PER_SECOND
        assert isinstance(client.ask(["a"]), Answered)
        client.close()
        assert provider.calls()["calls"] == 3


def test_an_expired_timestamp_without_a_date_is_refused() -> None:
    body = b'{"Code": "InvalidTimeStamp.Expired"}'
    with scripted_server(
        lambda sock, _: sock.sendall(reply("400 Bad Request", JSON | {"Date": "soon"}, body))
    ) as server:
        client = client_of(server)
        assert _refused(client.ask(["a"])).kind is RefusalKind.SIGN_AGAIN
        assert client.clock_offset == 0
        assert len(server.requests) == 2
        client.close()


def test_refusals_carry_what_the_provider_said(provider: Provider) -> None:
    client = ListAIJob(provider.url, static("sandbox", "wrong"))
    refused = _refused(client.ask(["a"]))
    client.close()
    assert (refused.kind, refused.code) == (RefusalKind.DENIED, "SignatureDoesNotMatch")
    assert refused.request_id
    assert refused.http_status == 400


def test_throttling_carries_its_wait() -> None:
    throttled = reply(
        "503 Service Unavailable", JSON | {"x-acs-retry-after": "1500"}, b'{"Code": "Throttling.User"}'
    )
    with scripted_server(lambda sock, _: sock.sendall(throttled)) as server:
        client = client_of(server)
        refused = _refused(client.ask(["a"]))
        client.close()
    assert (refused.kind, refused.retry_after) == (RefusalKind.THROTTLED, 1_500_000)


@pytest.mark.parametrize("status", [200, 400])
def test_an_error_document_is_a_refusal_whatever_its_status(provider: Provider, status: int) -> None:
    client = provider.client()
    provider.answer_raw(json.dumps({"Code": "Throttling.User", "RequestId": "R"}), status=status)
    assert _refused(client.ask(["a"])).kind is RefusalKind.THROTTLED
    client.close()


def test_html_with_a_200_is_unreadable(provider: Provider) -> None:
    client = provider.client()
    provider.answer_raw("<html><body>Sign in to the hotel", content_type="text/html")
    outcome = client.ask(["a"])
    client.close()
    assert isinstance(outcome, Unreadable)
    assert "hotel" not in outcome.reason


def test_html_with_a_502_is_transient(provider: Provider) -> None:
    client = provider.client()
    provider.answer_raw("<html><body>Bad gateway", content_type="text/html", status=502)
    assert _refused(client.ask(["a"])) == Refused(RefusalKind.TRANSIENT, None, None, None, None, 502)
    client.close()


def test_a_redirect_is_not_followed() -> None:
    with scripted_server(lambda sock, _: sock.sendall(EMPTY)) as other:
        moved = reply("302 Found", {"Location": other.url}, b"")
        with scripted_server(lambda sock, _: sock.sendall(moved)) as server:
            client = client_of(server)
            assert _refused(client.ask(["a"])).http_status == 302
            client.close()
        assert other.connections == 0


def drip(sock: socket.socket, start: bytes, drop: bytes) -> None:
    sock.sendall(start)
    while True:
        time.sleep(0.02)
        sock.sendall(drop)


def drip_headers(sock: socket.socket, _head: bytes) -> None:
    drip(sock, b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")


def drip_early_hints(sock: socket.socket, _head: bytes) -> None:
    drip(sock, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def drip_body(sock: socket.socket, _head: bytes) -> None:
    drip(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ")


def drip_body_until_closed(sock: socket.socket, _head: bytes) -> None:
    drip(sock, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ")


def never_answer(sock: socket.socket, _head: bytes) -> None:
    while sock.recv(1024):
        pass


@pytest.mark.parametrize(
    "script", [drip_headers, drip_early_hints, drip_body, drip_body_until_closed, never_answer]
)
def test_a_call_is_over_in_time_with_its_connection_and_its_thread(script: Script) -> None:
    with scripted_server(script) as server:
        client = client_of(server, timeout=0.5)
        started = time.monotonic()
        outcome = client.ask(["a"])
        assert time.monotonic() - started < 3
        assert isinstance(outcome, Unreachable)
        assert server.hung_up.wait(10)
        assert eventually(lambda: call_threads() == 0)


def test_after_an_abandoned_call_the_next_one_dials_afresh() -> None:
    def hang_once(sock: socket.socket, head: bytes) -> None:
        if len(server.requests) == 1:
            never_answer(sock, head)
        else:
            sock.sendall(reply("200 OK", JSON, EMPTY))

    with scripted_server(hang_once) as server:
        client = client_of(server, timeout=1)
        assert isinstance(client.ask(["a"]), Unreachable)
        assert isinstance(client.ask(["a"]), Answered)
        assert server.connections == 2
        client.close()


def test_a_tls_handshake_that_drips_is_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cut = threading.Event()

        def handshake() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    # The header of a handshake record of 16 KiB, and then its bytes one by one.
                    drip(connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\0")
                except OSError:
                    cut.set()

        threading.Thread(target=handshake, daemon=True).start()
        client = ListAIJob(
            f"https://127.0.0.1:{listener.getsockname()[1]}", static("id", "secret"), timeout=0.5
        )
        assert isinstance(client.ask(["a"]), Unreachable)
        assert cut.wait(10)
        assert eventually(lambda: call_threads() == 0)


def test_a_certificate_nobody_vouches_for_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def handshake() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=handshake, daemon=True)
        thread.start()
        client = ListAIJob(f"https://127.0.0.1:{listener.getsockname()[1]}", static("id", "secret"))
        outcome = client.ask(["a"])
        thread.join()
    assert isinstance(outcome, Unreachable)
    assert "TLS" in outcome.reason


def test_a_connection_is_kept_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with scripted_server(lambda sock, _: sock.sendall(reply("200 OK", JSON, EMPTY)), context) as server:
        client = client_of(server)
        assert [type(client.ask(["a"])) for _ in range(2)] == [Answered] * 2
        assert server.connections == 1
        client.close()
        assert server.hung_up.wait(10)


def test_an_answer_too_long_is_not_taken() -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    def flood(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(chunk)

    with scripted_server(flood) as server:
        client = client_of(server, max_bytes=1_000_000)
        outcome = client.ask(["a"])
        assert isinstance(outcome, Unreadable)
        assert "1000000 bytes" in outcome.reason
        assert server.hung_up.wait(10)
        assert isinstance(client.ask(["a"]), Unreadable)
        assert server.connections == 2


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_broken_off_or_garbled_is_an_outcome(start: bytes) -> None:
    def break_off(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(start)
        sock.shutdown(socket.SHUT_RDWR)

    with scripted_server(break_off) as server:
        client = client_of(server)
        outcome = client.ask(["a"])
        client.close()
    assert isinstance(outcome, Unreachable | Unreadable)
    assert "Signature" not in outcome.reason


def test_a_connection_that_the_server_ends_leaves_no_socket_open() -> None:
    closing = reply("200 OK", JSON | {"Connection": "close"}, EMPTY)
    with scripted_server(lambda sock, _: sock.sendall(closing)) as server:
        client = client_of(server)
        assert isinstance(client.ask(["a"]), Answered)
        assert server.hung_up.wait(10)
        assert isinstance(client.ask(["a"]), Answered)
        client.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1:1", "exa mple"])
def test_a_server_that_cant_be_reached_is_an_outcome(host: str) -> None:
    client = ListAIJob(f"http://{host}", static("id", "secret"), signature="v1")
    outcome = client.ask(["a"])
    assert isinstance(outcome, Unreachable)
    assert "Signature" not in outcome.reason


def test_proxies_and_passwords_of_the_environment_are_not_used(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    client = provider.client()
    assert isinstance(client.ask(["a"]), Answered)
    client.close()


def test_a_connect_that_hangs_is_over_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        client = ListAIJob(f"http://127.0.0.1:{address[1]}", static("id", "secret"), timeout=0.5)
        started = time.monotonic()
        assert isinstance(client.ask(["a"]), Unreachable)
        assert time.monotonic() - started < 3
        assert eventually(lambda: call_threads() == 0)
        for filler in fillers:
            filler.close()


def test_a_name_lookup_that_hangs_is_given_up_and_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = threading.Event()
    look_up = socket.getaddrinfo

    def hang(*args: Any, **kwargs: Any) -> Any:
        resolved.wait(30)
        return look_up(*args, **kwargs)

    with scripted_server(lambda sock, _: sock.sendall(reply("200 OK", JSON, EMPTY))) as server:
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        client = client_of(server, timeout=0.5)
        outcome = client.ask(["a"])
        assert isinstance(outcome, Unreachable)
        assert "within 0.5 s" in outcome.reason
        resolved.set()
        assert eventually(lambda: call_threads() == 0)
        assert server.requests == []


def test_a_credential_that_cant_be_sent_is_not_shown() -> None:
    client = ListAIJob("http://127.0.0.1:1", static("id", "secret", "to\nken"))
    assert client.ask(["a"]) == Unreachable("127.0.0.1:1 could not be asked (InvalidHeader).")
