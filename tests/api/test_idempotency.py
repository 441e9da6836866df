"""Idempotency-Key: one change and one answer, however often and from wherever a POST comes."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from relay.common.ids import NewId
from relay.db import idempotency
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Endpoint, IdempotentAnswer, Watch
from relay.endpoints.sql import endpoint_changes
from relay.subscribers.encryption import Encryption
from tests.support.api import Caller, context_for_tests, new_caller, new_job_id, serving


def body(**changes: Any) -> dict[str, Any]:
    return {"job_id": new_job_id(), "callback_url": "https://h.example.com/"} | changes


def watches_of(store: Store, caller: Caller) -> int:
    count = select(func.count()).where(Watch.subscriber_id == caller.subscriber_id)
    return store.read(lambda tx: tx.execute(count).scalar_one())


def test_A2_fifty_parallel_posts_with_one_key_are_one_row_with_equal_answers(
    caller: Caller, store: Store
) -> None:
    sent, barrier = body(), threading.Barrier(50)

    def post(_index: int) -> tuple[int, bytes, str]:
        barrier.wait()
        got = caller.post("/v1/watches", sent, key="one")
        return got.status, got.body, got.headers["Location"]

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(post, range(50)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 201
    assert watches_of(store, caller) == 1


def test_A3_the_same_key_with_another_body_is_refused_and_changes_nothing(
    caller: Caller, store: Store
) -> None:
    first = caller.post("/v1/watches", body(), key="k")
    got = caller.post("/v1/watches", body(), key="k")
    assert (first.status, got.status) == (201, 422)
    assert got.pointers == [""]
    assert watches_of(store, caller) == 1


def test_A4_a_key_is_known_after_a_restart(
    store: Store, database_url: str, encryption: Encryption, new_id: NewId
) -> None:
    sent = body()
    with serving(context_for_tests(store, encryption)) as port:
        caller = new_caller(port, store, encryption, new_id)
        first = caller.post("/v1/watches", sent, key="k")
    again_store = Store(database_url)
    with serving(context_for_tests(again_store, encryption)) as port:
        after = Caller(port, caller.subscriber_id, caller.api_key)
        again = after.post("/v1/watches", sent, key="k")
    again_store.close()
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["Location"] == first.headers["Location"]
    assert watches_of(store, caller) == 1


def test_A5_a_client_that_left_before_the_answer_finds_it_when_it_comes_back(
    caller: Caller, store: Store
) -> None:
    raw = b'{"job_id":"%s","callback_url":"https://h.example.com/"}' % new_job_id().encode()
    head = (
        f"POST /v1/watches HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {caller.api_key}\r\n"
        f"Idempotency-Key: gone\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", caller.port)) as connection:
        connection.sendall(head.encode() + raw)
    got = caller.send("POST", "/v1/watches", raw, {"Idempotency-Key": "gone"})
    assert got.status == 201
    assert watches_of(store, caller) == 1


def test_a_body_that_was_cut_short_has_no_effect(caller: Caller, store: Store) -> None:
    raw = b'{"job_id":"cut","callback_url":"https://h.example.com/"}'
    head = (
        f"POST /v1/watches HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {caller.api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw) + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", caller.port), timeout=10) as connection:
        connection.sendall(head.encode() + raw)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert watches_of(store, caller) == 0


def test_a_key_belongs_to_its_subscriber_and_path(
    caller: Caller, port: int, store: Store, encryption: Encryption, new_id: NewId
) -> None:
    other = new_caller(port, store, encryption, new_id)
    sent = body()
    mine, theirs = (who.post("/v1/watches", sent, key="k") for who in (caller, other))
    rotated = caller.post("/v1/secret/rotate", sent | {"overlap_seconds": 1}, key="k")
    assert (mine.status, theirs.status, rotated.status) == (201, 201, 422)
    assert mine.json["id"] != theirs.json["id"]
    assert rotated.pointers == [""]
    assert caller.post("/v1/secret/rotate", {}, key="k").status == 200


def test_a_repeated_answer_with_a_secret_is_the_same_and_sealed_at_rest(caller: Caller, store: Store) -> None:
    created = caller.post("/v1/endpoints", {"url": "https://h.example.com/s"}, key="new")
    again = caller.post("/v1/endpoints", {"url": "https://h.example.com/s"}, key="new")
    assert (again.status, again.body, again.headers["Location"]) == (
        201,
        created.body,
        created.headers["Location"],
    )
    rotated = caller.post("/v1/secret/rotate", key="rotate")
    assert caller.post("/v1/secret/rotate", key="rotate").body == rotated.body
    kept = store.read(lambda tx: "".join(filter(None, tx.scalars(select(IdempotentAnswer.answer)))))
    assert created.json["secret"] not in kept
    assert rotated.json["secret"] not in kept


def test_an_answer_that_is_no_success_is_not_kept(caller: Caller) -> None:
    caller.post("/v1/endpoints", {"url": "https://h.example.com/t"})
    refused = caller.post("/v1/endpoints", {"url": "https://h.example.com/t"}, key="k")
    taken = caller.post("/v1/endpoints", {"url": "https://h.example.com/u"}, key="k")
    assert (refused.status, taken.status) == (409, 201)


def test_a_change_that_fails_half_way_leaves_no_rows_and_no_key(
    caller: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("our own fault, with a whsec_secret in its text")

    with monkeypatch.context() as patch:
        patch.setattr("relay.watches.registration.check_endpoint_quota", fail)
        got = caller.post("/v1/endpoints", {"url": "https://h.example.com/v"}, key="k")
    assert got.status == 500
    assert got.headers["Content-Type"] == "application/problem+json"
    assert b"whsec" not in got.body
    mine = select(func.count()).where(Endpoint.subscriber_id == caller.subscriber_id)
    assert store.read(lambda tx: tx.execute(mine).scalar_one()) == 0
    assert caller.post("/v1/endpoints", {"url": "https://h.example.com/v"}, key="k").status == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "a\tb", "\xe9"])
def test_a_key_that_is_no_printable_ascii_is_refused(caller: Caller, key: str) -> None:
    assert caller.post("/v1/watches", body(), key=key).status == 400


def test_a_key_of_255_characters_is_taken(caller: Caller) -> None:
    assert caller.post("/v1/watches", body(), key=" ~" * 127 + "k").status == 201


def test_a_request_that_waits_too_long_for_a_key_is_a_conflict(
    caller: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.dialect.name == "sqlite":
        pytest.skip("on SQLite the write lock of the whole database is waited for, not the key's")
    at_work, may_end = threading.Event(), threading.Event()
    real = endpoint_changes.create

    def slow(*arguments: Any) -> tuple[str, str]:
        at_work.set()
        assert may_end.wait(60)
        return real(*arguments)

    monkeypatch.setattr(endpoint_changes, "create", slow)
    sent = {"url": "https://h.example.com/slow"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(caller.post, "/v1/endpoints", sent, "k")
        assert at_work.wait(10)
        late = caller.post("/v1/endpoints", sent, key="k")
        may_end.set()
        assert (late.status, first.result().status) == (409, 201)
    assert caller.post("/v1/endpoints", sent, key="k").body == first.result().body


def test_a_key_whose_first_holder_failed_is_free_for_the_next(store: Store) -> None:
    post = idempotency.keyed("sub", "POST", "/v1/x", new_job_id(), b"")
    now = Clock(store).now()

    def fail(tx: Tx) -> None:
        assert idempotency.begin(tx, post, now) is None
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(fail)
    assert store.write(idempotency.begin, post, now) is None
