"""./dev demo: every outcome, every webhook verified, an honest exit code, and nothing left."""

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from relay.common.states import WatchStatus
from relay.sandbox.demo_cases import Case, Result
from relay.sandbox.receiver import Received
from relay.sandbox.stack import StackFailed, running_stack, without_settings
from tests.support.interruptible import interrupt, interruptible

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"^(?P<way>\S.*?) +(?P<type>AIVideoTag|AIMediaDNA|-) +(?P<expected>\w+) +(?P<outcome>\w+)"
    r" +(?P<id>msg_[0-9a-f]{32}|-) +(?P<attempts>\d+)  (?P<signature>\S+)(?P<wrong>  <- WRONG)?$",
    re.MULTILINE,
)
POST = re.compile(r"<- (msg_[0-9a-f]{32})")


def start(folder: Path, source: str = "demo.main()") -> AbstractContextManager[subprocess.Popen[str]]:
    """Start the demo with `folder` for its temporary files, under settings that must not get in."""
    hostile = {"DATABASE_URL": "postgresql://nobody@192.0.2.1/real", "RELAY_NONSENSE": "1"}
    return interruptible(
        [sys.executable, "-uc", f"import sys; from relay.sandbox import demo; sys.exit({source})"],
        cwd=ROOT,
        env=os.environ | hostile | {"TMPDIR": str(folder)},
        stderr=subprocess.STDOUT,
    )


@pytest.mark.processes
def test_every_watch_ends_as_it_should_and_every_webhook_verifies(tmp_path: Path) -> None:
    started = time.monotonic()
    with start(tmp_path) as demo:
        printed = demo.communicate(timeout=90)[0]
    assert demo.returncode == 0, printed
    assert time.monotonic() - started < 60
    rows = list(ROW.finditer(printed))
    assert len(rows) >= 20
    assert {row["outcome"] for row in rows} == set(WatchStatus) - {WatchStatus.WAITING}
    assert {row["type"] for row in rows} == {"AIVideoTag", "AIMediaDNA", "-"}
    assert all(row["expected"] == row["outcome"] and row["wrong"] is None for row in rows)
    webhooks = [row for row in rows if row["outcome"] != "cancelled"]
    assert {row["signature"] for row in webhooks} == {"verified"}
    assert sorted(row["attempts"] for row in webhooks) == ["1"] * (len(webhooks) - 1) + ["2"]
    assert sorted(set(POST.findall(printed))) == sorted(row["id"] for row in webhooks)
    assert len(POST.findall(printed)) == len(webhooks) + 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_another_end_is_printed_with_the_logs_and_exit_code_1(tmp_path: Path) -> None:
    wrong = "[demo.Case('single', 'sandbox-tag-fail-1s-' + mark, demo.WatchStatus.SUCCESS)]"
    shorter = "setattr(demo, 'SHORT', 1), setattr(demo, 'batch_cases', lambda mark: demo.single_cases(mark))"
    source = f"[setattr(demo, 'single_cases', lambda mark: {wrong}), {shorter}, demo.main()][-1]"
    with start(tmp_path, source) as demo:
        printed = demo.communicate(timeout=90)[0]
    assert demo.returncode == 1, printed
    assert "<- WRONG" in printed
    assert "WRONG: single, sandbox-tag-fail-1s-" in printed
    assert "the outcome should be success and is fail" in printed
    (folder,) = tmp_path.iterdir()
    assert f"stay in {folder}" in printed
    assert {"web.log", "poller.log", "dispatcher.log"} <= {path.name for path in folder.iterdir()}
    assert '"event":"process_started"' in (folder / "poller.log").read_text()


@pytest.mark.processes
def test_ctrl_c_stops_and_cleans(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        assert demo.stdout is not None
        up = next(line for line in demo.stdout if "They are up" in line)
        printed = interrupt(demo, timeout=60)
    assert demo.returncode == 130, printed
    assert list(tmp_path.iterdir()) == []
    for port in re.findall(r":(\d+)", up):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()


@pytest.mark.processes
def test_a_stack_that_can_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StackFailed, match="RELAY_UPSTREAM_RATE must be"),
        running_stack(tmp_path, settings={"RELAY_UPSTREAM_RATE": "much"}),
    ):
        pytest.fail("it started")


def test_no_setting_of_a_real_relay_reaches_the_stack() -> None:
    real = {
        "DATABASE_URL_FILE": "/etc/relay/url",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "real",
        "ALIBABA_CLOUD_ROLE_ARN": "real",
        "RELAY_ADMIN_TOKEN": "real",
        "PORT": "80",
    }
    assert without_settings(real | {"HOME": "/home/me"}) == {"HOME": "/home/me"}


WATCH = Case("single", "sandbox-tag-success-1s-a", WatchStatus.SUCCESS)


def result(
    case: Case = WATCH, *, status: str = "success", ids: tuple[str, ...] = ("msg_1",), posts: int = 1
) -> Result:
    received = Received("msg_1", 0, {}, b"", "/", None, 0)
    return Result(case, status, frozenset(ids), ("delivered",) * len(ids), len(ids), [received] * posts)


def test_a_result_as_expected_has_no_problem() -> None:
    assert result().problem() is None
    cancelled = Case("cancelled", "sandbox-tag-success-1s-a", WatchStatus.CANCELLED, attempts=0)
    assert result(cancelled, status="cancelled", ids=(), posts=0).problem() is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (result(status="fail"), "the outcome should be success and is fail"),
        (result(posts=2), "the number of POSTs that came should be 1 and is 2"),
        (result(posts=0), "the signature should be verified and is -"),
        (result(ids=("msg_2",)), "the webhook-id should be"),
        (result(ids=("msg_1", "msg_2")), "the number of attempts should be 1 and is 2"),
    ],
)
def test_every_difference_is_a_problem_in_words(found: Result, words: str) -> None:
    assert words in (found.problem() or "")
