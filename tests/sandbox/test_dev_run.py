"""How ./dev run reads the Procfile, chooses port and settings, keeps its key and its processes."""

import json
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from relay.sandbox import run
from relay.sandbox.listaijob import ACCESS_KEY_ID
from relay.sandbox.processes import Process, Screen, read_procfile, stop_all
from relay.settings import load

ROOT = Path(__file__).resolve().parents[2]
KEY = {"id": "sub_1", "api_key": "key-1", "secret": "whsec_1"}


class Lines(Screen):
    """A screen that remembers what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []
        self._more = threading.Condition()

    def say(self, name: str, line: str) -> None:
        with self._more:
            self.said.append((name, line))
            self._more.notify_all()

    def wait_for(self, count: int, text: str) -> None:
        """Wait until `text` was said in `count` lines."""

        def enough() -> bool:
            return sum(text in line for _, line in self.said) >= count

        with self._more:
            assert self._more.wait_for(enough, 20), self.said


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def start(lines: Lines, _processes: None) -> Iterator[Callable[[str], Process]]:
    """Start a program given as Python source; it is killed at the end of the test."""
    processes: list[Process] = []

    def start_one(source: str) -> Process:
        process = Process("it", [sys.executable, "-uc", source], os.environ, lines)
        processes.append(process)
        process.start()
        return process

    yield start_one
    for process in processes:
        process.kill()
        assert process.wait(10)


def test_the_procfile_has_the_documented_processes() -> None:
    assert read_procfile((ROOT / "Procfile").read_text()) == {
        "release": ["python", "-m", "relay", "migrate"],
        "web": ["gunicorn", "-c", "gunicorn.conf.py", "app:app"],
        "poller": ["python", "-m", "relay", "poll"],
        "dispatcher": ["python", "-m", "relay", "deliver"],
    }


def test_a_procfile_may_have_comments_blank_lines_and_quotes() -> None:
    assert read_procfile("# all\n\n  web : run 'a b' c:d\n") == {"web": ["run", "a b", "c:d"]}


@pytest.mark.parametrize("line", ["web", "web:", ": run"])
def test_a_procfile_line_that_is_no_command_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        read_procfile(f"a: b\n{line}\n")


def test_a_process_is_printed_restarted_when_it_dies_and_stopped_on_request(
    lines: Lines, start: Callable[[str], Process]
) -> None:
    process = start("print('up'); raise SystemExit(3)")
    lines.wait_for(2, "up")
    lines.wait_for(1, "Ended with exit code 3; starting it again in 0.5 s.")
    assert stop_all([process], 10)


def test_a_process_that_is_terminated_finishes_and_is_not_restarted(
    lines: Lines, start: Callable[[str], Process]
) -> None:
    drain = "signal.signal(signal.SIGTERM, lambda *_: (print('drained'), sys.exit(0)))"
    process = start(f"import signal, sys; {drain}; print('up'); signal.pause()")
    lines.wait_for(1, "up")
    assert stop_all([process], 10)
    assert [line for _, line in lines.said] == ["up", "drained"]


def test_a_process_that_will_not_stop_is_killed(lines: Lines, start: Callable[[str], Process]) -> None:
    process = start(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); signal.pause()"
    )
    lines.wait_for(1, "up")
    started = time.monotonic()
    assert not stop_all([process], 0.2)
    assert process.wait(5)
    assert time.monotonic() - started < 5


def test_what_a_dead_process_left_behind_goes_too(lines: Lines, start: Callable[[str], Process]) -> None:
    left = "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']).pid"
    process = start(
        f"import os, signal, subprocess, sys; print('left', {left}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    lines.wait_for(1, "Ended by SIGKILL")
    process.terminate()
    child = int(next(line for _, line in lines.said if line.startswith("left")).split()[1])
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Say whether the process runs; a zombie that its parent has not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_leads_its_own_group_so_that_ctrl_c_does_not_reach_it(
    lines: Lines, start: Callable[[str], Process]
) -> None:
    start("import os, signal; print(os.getpgrp() == os.getpid()); signal.pause()")
    lines.wait_for(1, "True")


def test_K2_control_characters_of_a_process_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Screen().say("web", "a\x1b[2Jb")
    assert capsys.readouterr().out == "web       | a\\x1b[2Jb\n"


def test_the_environment_works_on_one_machine_with_the_sandbox_as_provider() -> None:
    environ = run.environment({"PATH": "/bin", "RELAY_ADMIN_TOKEN": ""}, 8001, 9999)
    settings = load(environ)
    assert settings.port == 8001
    assert settings.callback_schemes == ("http", "https")
    assert [str(network) for network in settings.callback_allow] == ["127.0.0.0/8", "::1/128"]
    assert settings.upstream_url == "http://127.0.0.1:9999"
    assert settings.access_key_id is not None
    assert settings.access_key_id.get_secret_value() == ACCESS_KEY_ID
    assert environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/bin"]


def test_what_is_set_already_stays() -> None:
    given = {
        "RELAY_CALLBACK_SCHEMES": "https",
        "RELAY_CALLBACK_ALLOW_FILE": "/x",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "a",
    }
    environ = run.environment(given, 8000, None)
    assert environ["RELAY_CALLBACK_SCHEMES"] == "https"
    assert "RELAY_CALLBACK_ALLOW" not in environ
    assert "RELAY_UPSTREAM_URL" not in environ


@pytest.mark.parametrize(
    ("environ", "has"),
    [
        ({}, False),
        ({"ALIBABA_CLOUD_ACCESS_KEY_ID": ""}, False),
        ({"ALIBABA_CLOUD_ACCESS_KEY_ID": "a"}, True),
        ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE": "/x"}, True),
        ({"ALIBABA_CLOUD_ROLE_ARN": "a"}, True),
    ],
)
def test_any_provider_credential_keeps_the_sandbox_away(environ: dict[str, str], *, has: bool) -> None:
    assert run.has_credentials(environ) is has


def test_a_port_that_is_taken_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} is in use"):
            run.choose_port(str(port))
    assert run.choose_port(str(port)) == port
    with pytest.raises(SystemExit, match="PORT must be"):
        run.choose_port("web")
    chosen = run.choose_port("")
    assert (chosen == 8000) == (capsys.readouterr().out == "")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Serve an API that knows only the key `key-1`, beside an empty state folder."""
    monkeypatch.setattr(run, "STATE", tmp_path / ".relay")
    monkeypatch.setattr(run, "KEY_FILE", tmp_path / ".relay" / "dev-key.json")

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "Bearer key-1"
            status = {"/v1/watches?limit=1": 200 if known else 401, "/readyz": 200, "/metrics": 401}
            self.send_response(status.get(self.path, 404))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def subscriber_add(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, taken: Sequence[str]) -> Path:
    """Replace Python by a program that adds a subscriber unless its name is taken; its log."""
    program, log = tmp_path / "python", tmp_path / "log"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(log)!r}, 'a').write(sys.argv[-1] + '\\n')\n"
        f"if sys.argv[-1] in {list(taken)!r}: sys.exit('That name is taken.')\nprint({json.dumps(KEY)!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return log


@pytest.mark.processes
def test_a_key_is_made_once_and_kept_for_this_user_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: str
) -> None:
    log = subscriber_add(monkeypatch, tmp_path, taken=[])
    assert run.ensure_key(api, os.environ) == KEY
    assert run.ensure_key(api, os.environ) == KEY
    assert log.read_text() == "dev\n"
    assert stat.S_IMODE(run.KEY_FILE.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.STATE.stat().st_mode) == 0o700


@pytest.mark.processes
@pytest.mark.parametrize("stored", ['{"id": "s", "api_key": "old", "secret": "x"}', "{", "[]", '{"id": "s"}'])
def test_a_key_that_the_database_does_not_know_or_nobody_can_read_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: str, stored: str
) -> None:
    log = subscriber_add(monkeypatch, tmp_path, taken=["dev"])
    run.STATE.mkdir()
    run.KEY_FILE.write_text(stored)
    assert run.ensure_key(api, os.environ) == KEY
    first, second = log.read_text().split()
    assert first == "dev"
    assert second.startswith("dev-")


def test_the_greeting_names_what_exists_and_has_a_line_to_paste(api: str) -> None:
    environ = run.environment({}, 8000, 9999)
    printed = run.greeting(api, KEY, environ)
    assert f"{api}/readyz" in printed
    assert f"{api}/metrics" in printed
    assert "http://127.0.0.1:9999" in printed
    assert "listen --port 9000 --secret whsec_1" in printed
    curl = next(line for line in printed.splitlines() if line.strip().startswith("curl "))
    assert "sandbox-tag-success-5s-" in curl
    assert f"{api}/v1/watches" in curl


def test_sigterm_stops_as_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt):
        run._interrupt(signal.SIGTERM, None)
