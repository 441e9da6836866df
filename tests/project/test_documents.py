"""The documents are true: their examples run, tables match the code, links resolve."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from relay.api import create_app
from relay.common.events import TEST
from relay.common.states import JobStatus
from relay.db.engine import Store
from relay.provider.registry import all_events
from relay.provider.source import JobReport
from relay.sandbox.stack import running_stack
from relay.sending.rules import signature, webhook
from relay.sending.rules.webhook import Ended, Notice
from relay.settings import describe, load
from relay.subscribers.encryption import Encryption
from relay.subscribers.rules.secret_texts import new_secret, parse_secret
from tests.support.api import context_for_tests

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "tests" / "README.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN_RECEIVER = "127.0.0.1:9000"  # as the README has it
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAA"

ID = re.compile(r"(?P<prefix>[a-z]+)_[0-9a-f]{32}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


def document(name: str) -> str:
    """The text of a document in docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks in this language: the README's unless another text is given."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of every row of a table in this text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


# The session with curl.


def alike(shown: Any, found: Any, ids: dict[str, str], name: str = "") -> bool:
    """Whether an answer is as shown but for ids, times and durations; ids must be consistent."""
    match shown, found:
        case dict(), dict():
            return list(shown) == list(found) and all(
                alike(shown[key], found[key], ids, key) for key in shown
            )
        case list(), list():
            return len(shown) == len(found) and all(map(functools.partial(alike, ids=ids), shown, found))
        case str(), str() if (one := ID.fullmatch(shown)) and (other := ID.fullmatch(found)):
            return one["prefix"] == other["prefix"] and ids.setdefault(shown, found) == found
        case str(), str() if TIME.fullmatch(shown):
            return TIME.fullmatch(found) is not None
        case int(), int() if name.endswith("_ms"):
            return True
        case _:
            return bool(shown == found)


def curls() -> list[tuple[str, Any]]:
    """Every curl command of the README with the answer that it shows."""
    retry_delays = [
        step for block in blocks("console") for step in block.split("$ ") if step.startswith("curl ")
    ]
    return [
        (command, json.loads(answer))
        for command, _, answer in (step.partition("\n") for step in retry_delays)
    ]


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_session_with_curl_is_answered_as_shown(tmp_path: Path) -> None:
    ids: dict[str, str] = {}
    retry_delays = curls()
    assert len(retry_delays) >= 4
    with running_stack(tmp_path) as stack:
        place = stack.receiver.url.removeprefix("http://")
        environ = {
            "RELAY": stack.base,
            "KEY": stack.subscriber["api_key"],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for command, answer in retry_delays:
            shown = json.loads(json.dumps(answer).replace(SHOWN_RECEIVER, place))
            run = ID.sub(lambda match: ids.get(match[0], match[0]), command.replace(SHOWN_RECEIVER, place))
            give_up_at = time.monotonic() + 30
            while not alike(shown, found := answered(run, environ), ids):
                # Only what is read may become so after a while.
                assert "-d" not in command.split() and time.monotonic() < give_up_at, (command, found)  # noqa: PT018 - one condition
                time.sleep(0.2)
        assert [one.problem for one in stack.receiver.wait_for(1, 30)] == [None]


def answered(command: str, environ: dict[str, str]) -> Any:
    done = subprocess.run(
        ["bash", "-c", command], env=environ, capture_output=True, text=True, check=True, timeout=30
    )
    return json.loads(done.stdout)


# The receiver.


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The README's receiver behind a real socket; its URL."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    (source,) = blocks("python")
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(source, "README.md", "exec"), names)
    server = make_server("127.0.0.1", 0, names["app"], threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


def rendered() -> bytes:
    job = JobReport(
        "job-1", JobStatus.SUCCESS, "AIVideoTag", "0", "OK", data='{"Tag":"海边"}', data_is_json=True
    )
    return webhook.render(Ended("ai_job.success", 1_700_000_000_000_000, "wat_1", "{}", *job, 15, ""))


def send(url: str, body: bytes, *, secret: str = SECRET, msg_id: str = "msg_1", age: int = 0) -> int:
    timestamp = int(time.time()) - age
    headers = {
        "content-type": "application/json",
        "webhook-id": msg_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature.sign([parse_secret(secret)], msg_id, timestamp, body),
    }
    return requests.post(url, body, headers=headers, timeout=10).status_code


def test_the_receiver_takes_what_the_relay_signs_and_works_on_it_once(
    receiver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(receiver, rendered()) == 204
    assert send(receiver, rendered()) == 204
    assert send(receiver, rendered(), msg_id="msg_2") == 204
    test = webhook.render(Notice(TEST.name, 1_700_000_000_000_000, '{"endpoint_id":"ep_1"}'))
    assert send(receiver, test, msg_id="msg_3") == 204
    assert capsys.readouterr().out == "ai_job.success job-1\n" * 2 + "relay.test None\n"


def test_the_receiver_refuses_what_is_forged_old_or_not_signed(
    receiver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    another = new_secret(b"x" * 32)
    assert send(receiver, rendered(), secret=another) == 400
    assert send(receiver, rendered(), age=3600) == 400
    assert requests.post(receiver, rendered(), timeout=10).status_code == 400
    garbage = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1"}
    assert requests.post(receiver, rendered(), headers=garbage, timeout=10).status_code == 400
    assert capsys.readouterr().out == ""


# Tables and examples beside the code.


def test_the_webhook_that_is_shown_has_the_members_of_a_real_one() -> None:
    shown = json.loads(next(block for block in blocks("json", document("receive")) if "watch_id" in block))
    real = json.loads(rendered())
    assert list(shown) == list(real)
    assert list(shown["data"]) == list(real["data"])
    assert list(shown["data"]["job"]) == list(real["data"]["job"])


def test_every_event_is_told() -> None:
    told = [row[0].strip("`") for row in rows(document("receive"))]
    assert told == [event.name for event in all_events()]


def test_every_setting_is_told_with_its_default_and_no_other() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows(document("settings"))}
    real = {name: value for name, value, _ in describe(load({}))}
    assert told.keys() == real.keys()
    in_words = {"RELAY_DNS_SERVERS": "the system's", "WEB_CONCURRENCY": "one per core"}
    unset = {name: in_words.get(name, "") for name, value in real.items() if value == "(not set)"}
    assert told == real | unset


def test_every_route_is_told_and_no_other(tmp_path: Path) -> None:
    app = create_app(context_for_tests(Store(f"sqlite:///{tmp_path}/none.db"), Encryption([b"k" * 32])))
    real = {
        f"{method} {re.sub('<[^>]+>', '{}', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = re.findall(r"`((?:GET|POST|PATCH|DELETE) /[^`?]*)`", document("api") + document("metrics"))
    assert {re.sub(r"\{[^}]+\}", "{}", route) for route in told} == real


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(path: Path) -> set[str]:
    """The anchors that a heading gets where Markdown is shown."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_test_that_the_documents_name_exists() -> None:
    for path in DOCUMENTS:
        for file, test in re.findall(
            r"`(?:tests/)?([\w/]+/test_\w+\.py)(?:::(\w+))?`", path.read_text(encoding="utf-8")
        ):
            source = ROOT / "tests" / file
            assert source.exists(), file
            assert not test or re.search(rf"^def {test}\(", source.read_text(), re.MULTILINE), (
                f"{file}::{test}"
            )
