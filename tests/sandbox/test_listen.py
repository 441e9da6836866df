"""`listen` as a rehearsal of trouble at a receiver; busy ports."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from relay import cli
from relay.sandbox.receiver import Answer, Received, Receiver, rehearsal
from relay.sandbox.server import CannotListen, listen
from relay.subscribers.rules.secret_texts import new_secret
from tests.support.forks import ROOT
from tests.support.interruptible import interrupt, interruptible

pytestmark = pytest.mark.processes

SECRET = new_secret(bytes(range(32)))
REFUSED = Received("msg_1", 0, {}, b"", "/", "the signature does not match", 0)
GOOD = Received("msg_1", 0, {}, b"", "/", None, 0)


def test_without_a_rehearsal_only_the_signature_counts() -> None:
    assert [rehearsal()(one).status for one in (GOOD, REFUSED)] == [200, 400]


def test_a_status_is_answered_whatever_comes_with_its_headers() -> None:
    answer = rehearsal(status=503, retry_after="120", delay=0.5)
    assert [answer(one) for one in (GOOD, REFUSED)] == [Answer(503, {"retry-after": "120"}, b"", 0.5)] * 2


def test_only_the_first_so_many_are_troubled() -> None:
    answer = rehearsal(status=410, times=2)
    assert [answer(GOOD).status for _ in range(4)] == [410, 410, 200, 200]


def test_a_delay_alone_keeps_the_answer() -> None:
    answer = rehearsal(delay=3)
    assert [(answer(one).status, answer(one).delay) for one in (GOOD, REFUSED)] == [(200, 3), (400, 3)]


@pytest.fixture
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command with these options; where it listens, and the process."""
    command = [sys.executable, "-m", "relay", "listen", "--port", "0", *request.param]
    with interruptible(command, cwd=ROOT) as process:
        assert process.stdout is not None
        place = process.stdout.readline().split()[2].rstrip(",").removeprefix("http://")
        yield place, process
        assert "Stopped after 2 webhooks" in interrupt(process)


def post(place: str) -> tuple[int, str | None]:
    """The status and the Retry-After that a webhook is answered."""
    connection = http.client.HTTPConnection(place, timeout=30)
    try:
        connection.request("POST", "/hook", b"{}", {"webhook-id": "msg_1"})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["retry-after"]
    finally:
        connection.close()


@pytest.mark.parametrize(
    "listening", [["--retry-after", "7", "--delay", "0.2", "--times", "1"]], indirect=True
)
def test_the_command_rehearses_and_prints_what_it_answered(
    listening: tuple[str, subprocess.Popen[str]],
) -> None:
    place, process = listening
    began = time.monotonic()
    assert post(place) == (503, "7")
    assert time.monotonic() - began >= 0.2
    assert post(place) == (200, None)
    assert process.stdout is not None
    lines = [line for line in (process.stdout.readline() for _ in range(4)) if "POST" in line]
    assert "signature not checked  answered 503 after 0.2 s" in lines[0]
    assert "answered" not in lines[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--status", "199"], "must be a whole number from 200 to 599"),
        (["--status", "500", "--gone"], "not allowed with argument"),
        (["--times", "0"], "must be a whole number from 1"),
        (["--delay", "-1"], "must be seconds from 0 to 3600"),
        (["--retry-after", "1\r\nx: y"], "must be printable ASCII"),
        (["--port", "65536"], "must be a whole number from 0 to 65535"),
    ],
)
def test_a_wrong_option_is_refused_in_words(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["listen", *options])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", ["listen", "sandbox"])
def test_a_busy_port_is_a_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Receiver() as taken:
        port = taken.url.rsplit(":", 1)[1]
        assert cli.main([command, "--port", port]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"Can't listen on 127.0.0.1:{port}: Address already in use.")
    assert "--port" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("host", ["192.0.2.1", "::2"])
def test_an_address_of_another_machine_is_a_sentence_too(host: str) -> None:

    with pytest.raises(CannotListen, match=f"Can't listen on {host}:0"):
        listen(Flask("x"), host, 0)
