"""gunicorn's worker before the application: malformed requests, and clients that stall."""

import contextlib
import json
import socket
from pathlib import Path

import pytest

from relay.api import worker
from tests.support.api import web_process
from tests.support.forks import ROOT

pytestmark = pytest.mark.processes

SECRET = b"rk_only-the-caller-knows"


def answer_to(port: int, raw: bytes) -> tuple[int, bytes]:
    """Send these bytes, leaving the connection open; the answer's status and all its bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(raw)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    return int(answer.split()[1]), answer


def test_requests_refused_before_the_application_are_answered_and_logged_without_quoting_them(
    database_url: str, tmp_path: Path
) -> None:
    start = b"GET /v1/watches HTTP/1.1\r\nHost: h\r\n"
    cases = [
        (400, start + b"Authorization : Bearer " + SECRET + b"\r\n\r\n"),
        (400, start + b"Authorization: Bearer\r\n " + SECRET + b"\r\n\r\n"),
        (400, start + b"X: " + SECRET + b"\x00\r\n\r\n"),
        (400, SECRET + b" what\r\n\r\n"),
        (414, b"GET /" + SECRET * 400 + b" HTTP/1.1\r\n\r\n"),
        (417, start + b"Content-Length: 1\r\nExpect: " + SECRET + b"\r\n\r\n"),
        (431, start + b"X: " + SECRET * 1000 + b"\r\n\r\n"),
        (431, start + b"X: " + SECRET + b"\r\n" + b"Y: y\r\n" * 70 + b"\r\n"),
    ]
    with web_process(database_url, tmp_path) as relay:
        for status, raw in cases:
            got, answer = answer_to(relay.port, raw)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert got == status, answer
            assert b"Content-Type: application/problem+json" in head
            assert json.loads(body)["status"] == status
            assert SECRET not in answer
    log = (tmp_path / "web.log").read_bytes()
    assert b"InvalidHeader" in log
    assert SECRET not in log


def test_clients_that_stall_free_their_threads(database_url: str, tmp_path: Path) -> None:
    config, usual = tmp_path / "impatient.py", ROOT / "gunicorn.conf.py"
    config.write_text(
        f"__file__ = {str(usual)!r}\nexec(compile(open(__file__).read(), __file__, 'exec'))\n"
        "from relay.api import worker\nworker.SILENCE = 0.5\n"
    )
    head = b"POST /v1/watches HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n"
    stalls = [head + b"\r\n{", head + b"Transf", b"P"] * 4
    with web_process(database_url, tmp_path, str(config)) as relay, contextlib.ExitStack() as held:
        for stalled in stalls:
            connection = socket.create_connection(("127.0.0.1", relay.port), timeout=30)
            held.enter_context(connection).sendall(stalled)
        status, _ = answer_to(relay.port, b"GET /healthz HTTP/1.0\r\n\r\n")
        assert status == 200
    log = (tmp_path / "web.log").read_bytes()
    assert b'"level":"error"' not in log
    assert b"Traceback" not in log


def test_a_client_that_is_late_is_never_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with worker.ClientSocket(fileno=ours.detach()) as connection, theirs:
        connection.setblocking(True)
        theirs.sendall(b"a")
        assert connection.recv(9) == b"a"
        monkeypatch.setattr(worker, "WHOLE", -1.0)
        connection.setblocking(True)
        theirs.sendall(b"b")
        assert connection.recv(9) == b""
        monkeypatch.undo()
        connection.setblocking(True)
        assert connection.recv(9) == b""
