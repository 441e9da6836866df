"""Temporary credentials: fetched from STS or the metadata service, renewed in time, never shown."""

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from relay import telemetry
from relay.common.errors import SettingsError
from relay.common.time import US_PER_SECOND
from relay.db.engine import Store
from relay.db.tables import Job, Upstream, Watch
from relay.polling.poller import Poller
from relay.polling.upstream_guard import CREDENTIALS_GRACE
from relay.provider.list_ai_job.client import ListAIJob
from relay.provider.list_ai_job.connection import build_credentials
from relay.provider.list_ai_job.credentials import (
    CredentialsProvider,
    Fetch,
    NotGiven,
    Renewal,
    Temporary,
    static,
)
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.list_ai_job.roles import ecs_role, oidc_role, sts_url
from relay.provider.list_ai_job.rules.signing import Credentials
from relay.provider.source import Answered, Unreachable
from relay.settings import load
from relay.telemetry.events import CredentialsNotRenewed, CredentialsRenewed
from tests.support.flow import StillClock, World
from tests.support.polling import poller_config
from tests.support.provider import eventually, reply, running_provider, scripted_server
from tests.support.sts import (
    METADATA_TOKEN,
    PROVIDER_ARN,
    ROLE_ARN,
    ROLE_NAME,
    SECRET,
    SECURITY_TOKEN,
    Stand,
    running_stand,
)
from tests.support.telemetry import logged

ROLES = ["oidc", "ecs"]


@pytest.fixture
def stand() -> Iterator[Stand]:
    with running_stand() as running:
        yield running


@pytest.fixture
def token_file(stand: Stand, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{stand.oidc_token}\n")
    return file


def of_pod(url: str, token_file: Path, timeout: float = 10) -> Fetch:
    return oidc_role(
        url,
        role_arn=ROLE_ARN,
        provider_arn=PROVIDER_ARN,
        token_file=token_file,
        session_name="relay",
        timeout=timeout,
    )


def fetcher(role: str, url: str, token_file: Path, timeout: float = 10) -> Fetch:
    return (
        of_pod(url, token_file, timeout) if role == "oidc" else ecs_role(ROLE_NAME, url=url, timeout=timeout)
    )


def given(fetched: Temporary | NotGiven) -> Temporary:
    assert isinstance(fetched, Temporary), fetched
    return fetched


def reason(fetched: Temporary | NotGiven) -> str:
    assert isinstance(fetched, NotGiven)
    return fetched.reason


# Fetching.


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gives_credentials_and_how_long_they_are_good(
    stand: Stand, token_file: Path, role: str
) -> None:
    fetched = given(fetcher(role, stand.url, token_file)())
    assert fetched.credentials == Credentials("STS.key1", SECRET, SECURITY_TOKEN)
    assert fetched.seconds == pytest.approx(3600, abs=2)


def test_the_pods_token_travels_in_the_body_and_is_read_anew_each_time(
    stand: Stand, token_file: Path
) -> None:
    fetch = of_pod(stand.url, token_file)
    given(fetch())
    stand.oidc_token = "hush-exchanged"
    token_file.write_text("hush-exchanged")
    given(fetch())
    assert all("hush" not in asked["path"] for asked in stand.asked)
    assert [asked["form"]["OIDCToken"] for asked in stand.asked] == ["hush-oidc-token", "hush-exchanged"]


@pytest.mark.parametrize(("setting", "asked"), [("relay-role", 2), ("true", 3), ("TRUE", 3)])
def test_the_metadata_service_is_asked_with_a_session_token(stand: Stand, setting: str, asked: int) -> None:
    name = None if setting.lower() == "true" else setting
    given(ecs_role(name, url=stand.url)())
    assert [one["method"] for one in stand.asked] == ["PUT", "GET", "GET"][:asked]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("minutes", [-90, 90])
def test_a_wrong_clock_here_does_not_matter(stand: Stand, token_file: Path, role: str, minutes: int) -> None:
    stand.ahead = timedelta(minutes=minutes)
    assert given(fetcher(role, stand.url, token_file)()).seconds == pytest.approx(3600, abs=2)


HTML = ("<html>hush</html>", 502)
FAILURES: list[tuple[Any, str]] = [
    (({"Code": "NoPermission", "Message": f"hush {SECRET}"}, 403), "HTTP 403 (NoPermission)"),
    (({"Code": "hush me, I am no code"}, 400), "HTTP 400."),
    (HTML, "HTTP 502."),
    (("", 302, {"Location": "http://127.0.0.1:1/"}), "HTTP 302."),
    (("hush", 200), "without credentials"),
    (("[]", 200), "without credentials"),
    (({"Code": "Failed"}, 200), "without credentials"),
    (({"Credentials": {"AccessKeyId": "hush"}, "AccessKeyId": "hush"}, 200), "without credentials"),
    (("hush" * 50_000, 200), "more than 65536 bytes"),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("failure", "says"), FAILURES)
def test_a_refusal_is_a_reason_that_shows_nothing_secret(
    stand: Stand, token_file: Path, role: str, failure: Any, says: str
) -> None:
    stand.failure = failure
    given = reason(fetcher(role, stand.url, token_file)())
    assert says in given
    assert "hush" not in given


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("expiration", ["", "soon", "2020-13-45T00:00:00Z", "20200101", None, 12])
def test_credentials_without_a_readable_end_are_not_taken(
    stand: Stand, token_file: Path, role: str, expiration: Any
) -> None:
    whole = {**stand.credentials(), "Expiration": expiration}
    stand.failure = ({**whole, "Credentials": whole}, 200)
    assert "time at which they end" in reason(fetcher(role, stand.url, token_file)())


def test_a_token_that_sts_refuses_is_not_quoted(stand: Stand, token_file: Path) -> None:
    token_file.write_text("hush-old-token")
    given = reason(of_pod(stand.url, token_file)())
    assert given == "STS refused with HTTP 400 (AuthenticationFail.OIDCToken.Invalid)."


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_token_file_that_cant_be_read_is_a_reason(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    assert "ALIBABA_CLOUD_OIDC_TOKEN_FILE" in reason(of_pod("http://127.0.0.1:1", file)())


def test_an_instance_without_a_role_is_told(stand: Stand) -> None:
    assert "HTTP 404" in reason(ecs_role("another-role", url=stand.url)())
    with scripted_server(lambda sock, _: sock.sendall(reply("200 OK", {}, b""))) as empty:
        assert "has the instance a RAM role" in reason(ecs_role(None, url=empty.url)())


@pytest.mark.parametrize("role", ROLES)
def test_a_server_that_hangs_drips_or_is_not_there_is_over_in_time(token_file: Path, role: str) -> None:
    def drip(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            time.sleep(0.02)
            sock.sendall(b"x")

    with scripted_server(drip) as server:
        started = time.monotonic()
        said = reason(fetcher(role, server.url, token_file, 0.5)())
        assert "within 0.5 s" in said or "in time" in said  # whichever of the two limits a busy machine meets
        assert time.monotonic() - started < 3
        assert server.hung_up.wait(10)
    assert "refused or closed" in reason(fetcher(role, "http://127.0.0.1:1", token_file)())


@pytest.mark.parametrize(
    ("region", "vpc", "url"),
    [
        (None, False, "https://sts.aliyuncs.com"),
        ("cn-shanghai", False, "https://sts.cn-shanghai.aliyuncs.com"),
        ("cn-shanghai", True, "https://sts-vpc.cn-shanghai.aliyuncs.com"),
        (None, True, "https://sts.aliyuncs.com"),
    ],
)
def test_sts_is_asked_where_the_official_clients_ask(region: str | None, vpc: bool, url: str) -> None:  # noqa: FBT001 - a case
    assert sts_url(region, vpc=vpc) == url


# Renewing.


class Calls:
    """The calls that a renewal made."""

    def __init__(self) -> None:
        self.renewed: list[float] = []
        self.failed: list[tuple[str, float, float]] = []

    def renewal(self, fetch: Fetch) -> Renewal:
        return Renewal(
            fetch,
            lambda: 0.0,
            on_renewed=self.renewed.append,
            on_failed=lambda reason, left, retry_in: self.failed.append((reason, left, retry_in)),
        )


@pytest.fixture
def calls() -> Calls:
    return Calls()


def key_id(provider: CredentialsProvider) -> str | None:
    held = provider()
    return held.access_key_id if isinstance(held, Credentials) else None


def in_turn(*answers: Temporary | NotGiven | Exception) -> tuple[Callable[[], Temporary | NotGiven], Event]:
    """A fetch that gives these answers one by one, and an event set at the last of them."""
    left, last = list(answers), Event()

    def fetch() -> Temporary | NotGiven:
        if len(left) == 1:
            last.set()
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fetch, last


def temporary(name: str, seconds: float) -> Temporary:
    return Temporary(Credentials(name, "s", "t"), seconds)


def test_before_the_first_credentials_came_there_are_none(stand: Stand, calls: Calls) -> None:
    stand.open.clear()
    renewal = calls.renewal(ecs_role(ROLE_NAME, url=stand.url))
    renewal.start()
    assert renewal() == NotGiven("The first credentials have not come yet.")
    stand.open.set()
    assert eventually(lambda: key_id(renewal) == "STS.key1")
    renewal.close()


def test_credentials_are_renewed_ahead_of_their_end_and_never_missed(calls: Calls) -> None:
    fetch, last = in_turn(temporary("one", 1), temporary("two", 1), temporary("three", 3600))
    renewal = calls.renewal(fetch)
    renewal.start()
    assert eventually(lambda: key_id(renewal) is not None)
    seen = set()
    while not last.is_set():
        seen.add(key_id(renewal))
        time.sleep(0.005)
    assert seen == {"one", "two"}
    assert eventually(lambda: key_id(renewal) == "three")
    assert calls.renewed == [0.9, 0.9, 3590]
    renewal.close()


def test_a_renewal_that_fails_keeps_the_old_ones_while_they_are_valid(calls: Calls) -> None:
    fetch, _ = in_turn(temporary("one", 1), NotGiven("STS is away."))
    renewal = calls.renewal(fetch)
    renewal.start()
    assert eventually(lambda: bool(calls.failed))
    assert key_id(renewal) == "one"
    said, left, retry_in = calls.failed[0]
    assert (said, retry_in) == ("STS is away.", 0.5)
    assert 0 < left < 0.5
    assert eventually(lambda: renewal() == NotGiven("STS is away."))
    renewal.close()


def test_renewals_that_fail_come_less_often_and_recover_by_themselves(calls: Calls) -> None:
    fetch, _ = in_turn(NotGiven("no"), ValueError("hush"), temporary("dead", 0), temporary("one", 10**9))
    renewal = calls.renewal(fetch)
    renewal.start()
    assert eventually(lambda: key_id(renewal) == "one")
    assert [pause for _, _, pause in calls.failed] == [0.5, 1, 2]
    assert [said for said, _, _ in calls.failed] == [
        "no",
        "Fetching them failed unexpectedly with ValueError.",
        "The credentials that came had already ended.",
    ]
    assert calls.renewed == [43_190]
    renewal.close()


# In the client, the poller and the wiring.


def test_a_call_without_credentials_is_not_made() -> None:
    client = ListAIJob("http://127.0.0.1:1", lambda: NotGiven("STS is away."))
    assert client.ask(["a"]) == Unreachable("STS is away.")
    assert client.why_not() == "STS is away."
    assert ListAIJob("http://127.0.0.1:1", static("id", "secret")).why_not() is None


def test_a_poller_without_credentials_waits_says_so_and_recovers(
    own_store: Store, stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(own_store)
    with running_provider(credentials=Credentials("STS.key1", SECRET, SECURITY_TOKEN)) as provider:
        (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
        watch_id = world.watch(job_id)
        renewal = Renewal(ecs_role(ROLE_NAME, url=stand.url), lambda: 0.0)
        client = ListAIJob(provider.url, renewal)
        poller = Poller(own_store, StillClock(world), LIST_AI_JOB, client, poller_config(world.new_id))
        with caplog.at_level(logging.INFO, logger="relay"):
            assert poller.run_once() > 0
            assert world.rows(Upstream) == []
            world.later(CREDENTIALS_GRACE / US_PER_SECOND)
            assert poller.run_once() > 0
            assert poller.run_once() > 0
            row = world.rows(Upstream)[0]
            assert (row.error_code, row.down_since) == ("NoCredentials", world.now)
            assert (row.next_call_at, row.failure_streak) == (0, 0)
            assert world.rows(Job)[0].polled_at is None
            renewal.start()
            assert eventually(lambda: client.why_not() is None)
            poller.run_once()
            poller.drain()
        renewal.close()
        client.close()
        assert provider.calls()["calls"] == 1
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "success"
    assert world.rows(Upstream)[0].down_since is None
    assert [line.event for line in logged(caplog) if line.event.startswith("upstream")] == [
        "upstream_down",
        "upstream_recovered",
    ]


def test_sts_credentials_sign_calls_and_are_exchanged_while_calls_go_on(stand: Stand) -> None:
    with running_provider(credentials=Credentials("STS.key2", SECRET, SECURITY_TOKEN)) as provider:
        stand.life = 3
        renewal = Renewal(ecs_role(None, url=stand.url), lambda: 0.0)
        client = ListAIJob(provider.url, renewal)
        renewal.start()
        assert eventually(lambda: client.why_not() is None)
        assert not isinstance(client.ask(["a"]), Answered)
        stand.life = 3600
        assert eventually(lambda: isinstance(client.ask(["a"]), Answered))
        renewal.close()
        client.close()


STATIC = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}


def test_a_static_key_stands_before_every_role() -> None:
    provider = build_credentials(load({**STATIC, "ALIBABA_CLOUD_ECS_METADATA": "role"}))
    assert provider() == Credentials("id", "secret")


def test_without_any_credentials_the_poller_is_refused_with_advice() -> None:
    with pytest.raises(SettingsError, match="ALIBABA_CLOUD_ECS_METADATA"):
        build_credentials(load({}))


def test_nothing_secret_is_logged_or_shown(
    stand: Stand, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        renewals: Sequence[Renewal] = [
            Renewal(
                fetcher(role, stand.url, token_file),
                lambda: 0.0,
                on_renewed=lambda seconds: telemetry.emit(CredentialsRenewed(round(seconds))),
                on_failed=lambda why, left, retry_in: telemetry.emit(
                    CredentialsNotRenewed(why, round(left), round(retry_in))
                ),
            )
            for role in ROLES
        ]
        for renewal in renewals:
            renewal.start()
            assert eventually(lambda renewal=renewal: key_id(renewal) is not None)  # type: ignore[misc]
            renewal.close()
        telemetry.emit(CredentialsNotRenewed("STS refused with HTTP 400 (X).", 0, 5))
    shown = json.dumps([str(vars(record)) for record in caplog.records]) + repr(
        given(of_pod(stand.url, token_file)())
    )
    assert "credentials_renewed" in shown
    assert all(secret not in shown for secret in ("hush", SECRET, SECURITY_TOKEN, METADATA_TOKEN))
