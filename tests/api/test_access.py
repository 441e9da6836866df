"""Authentication, refusals by HTTP itself, and the answers for monitoring."""

import hashlib
import json
import secrets
from pathlib import Path

import pytest
from sqlalchemy import select, text

from relay import __version__
from relay.common.errors import Conflict, Invalid, NotFound
from relay.common.ids import NewId
from relay.db import counters
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.db.tables import ApiKey
from relay.housekeeping.sql import fleet
from relay.polling.sql import poll_claims, rate_limiter
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.settings import Settings
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import subscribers
from tests.support.api import (
    ADMIN_TOKEN,
    Caller,
    context_for_tests,
    new_caller,
    new_subscriber,
    serving,
    settings_for_tests,
)

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer rk_wrong",
        "Basic cms6",
        "rk_x",
        "Bearer \xe9",
        "Bearer " + "a" * 4000,
    ],
)
def test_without_a_valid_key_nothing_is_answered(port: int, header: str | None) -> None:
    got = Caller(port).send("GET", "/v1/watches", None, {} if header is None else {"Authorization": header})
    assert got.status == 401
    assert got.headers["WWW-Authenticate"].startswith("Bearer")
    assert got.headers["Content-Type"] == "application/problem+json"
    assert got.headers["Cache-Control"] == "no-store"


def test_the_schemes_letter_case_does_not_count(caller: Caller) -> None:
    assert (
        caller.send("GET", "/v1/watches", None, {"Authorization": f"bEARER {caller.api_key}"}).status == 200
    )


def test_a_disabled_subscriber_and_a_revoked_key_are_refused_at_once(
    caller: Caller, store: Store, clock: Clock, new_id: NewId
) -> None:
    second = store.write(subscribers.add_key, caller.subscriber_id, clock.now(), new_id)
    with_second = Caller(caller.port, caller.subscriber_id, second.api_key)
    assert [caller.get("/v1/watches").status, with_second.get("/v1/watches").status] == [200, 200]
    assert store.write(subscribers.revoke_key, second.api_key[:10], clock.now()) == second.id
    assert [caller.get("/v1/watches").status, with_second.get("/v1/watches").status] == [200, 401]
    store.write(subscribers.disable, caller.subscriber_id, clock.now())
    assert caller.get("/v1/watches").status == 401


def test_a_key_is_stored_only_as_its_hash(caller: Caller, store: Store) -> None:
    row = store.read(
        lambda tx: tx.execute(
            select(ApiKey.__table__).where(ApiKey.subscriber_id == caller.subscriber_id)
        ).one()
    )
    assert row.sha256 == hashlib.sha256(caller.api_key.encode()).hexdigest()
    assert row.key_prefix == caller.api_key[:10]
    assert caller.api_key[10:] not in str(row)
    assert len(caller.api_key) == 46
    assert caller.api_key not in repr(subscribers.NewSubscriber("i", caller.api_key, caller.secret))


def test_subscribers_are_found_by_id_or_name_and_listed_with_their_keys(
    store: Store, encryption: Encryption, clock: Clock, new_id: NewId
) -> None:
    name = f"büro {secrets.token_hex(8)}"
    created = store.write(subscribers.add, name, encryption, clock.now(), new_id)
    with pytest.raises(Conflict):
        store.write(subscribers.add, name, encryption, clock.now(), new_id)
    key = store.write(subscribers.add_key, name, clock.now(), new_id)
    assert store.write(subscribers.disable, name, clock.now()) == created.id
    (shown,) = (found for found in store.read(subscribers.list_all) if found["id"] == created.id)
    assert shown["name"] == name
    assert shown["disabled_at"]
    assert {listed["hint"] for listed in shown["keys"]} == {created.api_key[:10], key.api_key[:10]}
    assert created.api_key not in json.dumps(shown)


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "a\0", "a\nb"])
def test_a_subscribers_name_is_printable(
    store: Store, encryption: Encryption, new_id: NewId, name: str
) -> None:
    with pytest.raises(Invalid):
        store.write(subscribers.add, name, encryption, 1, new_id)


def test_unknown_subscribers_and_keys_are_not_found(store: Store, new_id: NewId) -> None:
    for name in ("nobody", "ñobody"):
        with pytest.raises(NotFound):
            store.write(subscribers.disable, name, 1)
        with pytest.raises(NotFound):
            store.write(subscribers.add_key, name, 1, new_id)
        with pytest.raises(NotFound):
            store.write(subscribers.revoke_key, name, 1)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/watches/", "/v1//watches", "/%ff", "/v1/a%00b"]
)
def test_an_unknown_path_is_404_as_a_problem(caller: Caller, path: str) -> None:
    got = caller.get(path)
    assert (got.status, got.headers["Content-Type"]) == (404, "application/problem+json")
    assert set(got.json) == {"type", "title", "status", "detail"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/watches", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", "/v1/secret", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/v1/deliveries", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_and_says_what_is_allowed(
    caller: Caller, method: str, path: str, allowed: set[str]
) -> None:
    got = caller.send(method, path)
    assert got.status == 405
    assert set(got.headers["Allow"].split(", ")) == allowed


def test_head_is_get_without_its_body_and_options_needs_no_key(caller: Caller) -> None:
    head = caller.send("HEAD", "/v1/watches")
    assert (head.status, head.body) == (200, b"")
    options = Caller(caller.port).send("OPTIONS", "/v1/watches")
    assert options.status == 200
    assert "POST" in options.headers["Allow"]


def test_healthz_says_that_the_process_lives(port: int) -> None:
    got = Caller(port).get("/healthz")
    assert (got.status, got.json) == (200, {"status": "ok", "version": __version__})


def test_readyz_shows_the_provider_and_stays_ready_while_it_fails(
    own_store: Store, encryption: Encryption, new_id: NewId
) -> None:
    def ready() -> tuple[int, dict[str, object]]:
        with serving(context_for_tests(own_store, encryption)) as port:
            got = Caller(port).get("/readyz")
            return got.status, got.json

    assert ready() == (
        200,
        {"status": "ready", "database": "ok", "migrations": "current", "provider": {"status": "unknown"}},
    )
    new_subscriber(own_store, encryption, new_id)
    own_store.write(poll_claims.claim, LIST_AI_JOB, now=1, lease=1, token="t", call_interval=1)
    own_store.write(
        rate_limiter.failed,
        LIST_AI_JOB.name,
        5_000_000,
        asked_at=1,
        code="Forbidden.X",
        detail="d",
        hold=lambda _: 9,
    )
    status, body = ready()
    assert (status, body["provider"]) == (
        200,
        {"status": "failing", "since": "1970-01-01T00:00:05.000Z", "code": "Forbidden.X"},
    )
    own_store.write(rate_limiter.answered, LIST_AI_JOB.name, 6_000_000)
    assert ready()[1]["provider"] == {"status": "ok", "answered_at": "1970-01-01T00:00:06.000Z"}


def test_readyz_is_red_until_the_database_is_migrated(own_store: Store, encryption: Encryption) -> None:
    own_store.write(lambda tx: tx.execute(text("DELETE FROM alembic_version")))
    with serving(context_for_tests(own_store, encryption)) as port:
        got = Caller(port).get("/readyz")
    assert got.status == 503
    assert "migrate" in got.json["migrations"]


def test_A7_without_a_database_requests_are_503_with_retry_after(
    tmp_path: Path, encryption: Encryption
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'no folder' / 'relay.db'}", retry_timeout=0.05)
    with serving(context_for_tests(store, encryption)) as port:
        caller = Caller(port, api_key="rk_x")
        for got in (caller.get("/v1/watches"), caller.watch(), caller.send("GET", "/metrics", None, ADMIN)):
            assert got.status == 503
            assert int(got.headers["Retry-After"]) > 0
            assert got.headers["Content-Type"] == "application/problem+json"
        assert caller.get("/readyz").status == 503
        assert caller.get("/healthz").status == 200
    store.close()


@pytest.mark.parametrize("url", ["postgresql://u:pw@127.0.0.1:1/x", "mysql://u:pw@127.0.0.1:1/x"])
def test_A7_a_server_that_does_not_answer_is_503_too(url: str, encryption: Encryption) -> None:
    store = Store(url, retry_timeout=0.05)
    with serving(context_for_tests(store, encryption)) as port:
        got = Caller(port, api_key="rk_x").watch()
        assert (got.status, got.json["type"]) == (503, "urn:relay:problem:database")
        assert b"127.0.0.1" not in got.body
    store.close()


def test_A7_a_database_that_becomes_read_only_is_503_and_leaves_no_half_row(
    own_store: Store, encryption: Encryption, new_id: NewId
) -> None:
    if own_store.dialect.name != "sqlite":
        pytest.skip("the servers here are shared with other tests")
    path = Path(str(own_store.engine.url.database))
    with serving(context_for_tests(own_store, encryption)) as port:
        caller = new_caller(port, own_store, encryption, new_id)
        assert caller.watch().status == 201
    own_store.close()
    locked = Store(f"sqlite:///file:{path}?mode=ro&uri=true", retry_timeout=0.05)
    with serving(context_for_tests(locked, encryption)) as port:
        still = Caller(port, caller.subscriber_id, caller.api_key)
        assert still.get("/v1/watches").status == 200
        assert still.watch().status == 503
        assert still.get("/readyz").status == 503
    locked.close()
    with serving(context_for_tests(own_store, encryption)) as port:
        again = Caller(port, caller.subscriber_id, caller.api_key)
        assert len(again.get("/v1/watches").json["data"]) == 1


def test_metrics_need_the_admin_token(caller: Caller, store: Store, encryption: Encryption) -> None:
    anyone = Caller(caller.port)
    assert anyone.get("/metrics").status == 401
    assert caller.get("/metrics").status == 401
    assert anyone.send("GET", "/metrics", None, {"Authorization": "Bearer \xe9"}).status == 401
    got = anyone.send("GET", "/metrics", None, ADMIN)
    assert got.status == 200
    assert got.headers["Content-Type"].startswith("text/plain")
    assert b"relay_watches_waiting " in got.body
    off: Settings = settings_for_tests().model_copy(update={"admin_token": None})
    with serving(context_for_tests(store, encryption, off)) as port:
        explained = Caller(port).send("GET", "/metrics", None, ADMIN)
    assert explained.status == 404
    assert "RELAY_ADMIN_TOKEN" in explained.json["detail"]


def test_the_fleets_numbers_count_what_is_open(
    own_store: Store, encryption: Encryption, new_id: NewId
) -> None:
    empty = own_store.read(fleet.numbers, 1)
    assert (empty.deliveries_pending, empty.jobs_open, empty.oldest_due_seconds) == (0, 0, 0.0)
    with serving(context_for_tests(own_store, encryption)) as port:
        caller = new_caller(port, own_store, encryption, new_id)
        for _ in range(3):
            caller.watch()
    own_store.write(counters.add_totals, {("a", "b"): 5, ("a", ""): 1})
    own_store.write(counters.add_totals, {("a", "b"): 2})
    now = Clock(own_store).now()
    numbers = own_store.read(fleet.numbers, now)
    assert (numbers.watches_waiting, numbers.jobs_open, numbers.jobs_due) == (3, 3, 3)
    assert (numbers.totals["a", "b"], numbers.totals["a", ""]) == (7, 1)
