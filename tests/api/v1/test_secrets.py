"""Signing secrets over HTTP: showing and rotating."""

from typing import Any

import pytest
from sqlalchemy import select

from relay.db.clock import Clock
from relay.db.engine import Store
from relay.db.tables import SigningSecret
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets
from tests.support.api import Caller


def signing_texts(store: Store, encryption: Encryption, endpoint_id: str, later: float = 0) -> list[str]:
    """The secrets that sign for an endpoint, `later` seconds from now, newest first."""
    now = Clock(store).now() + round(later * 1_000_000)
    found = store.read(secrets.signing, [endpoint_id], now)[endpoint_id]
    return [encryption.decrypt(secret.id, secret.text) for secret in found]


def test_an_endpoint_without_a_secret_signs_with_the_subscribers_secret(
    caller: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    assert caller.get("/v1/secret").json == {"secret": caller.secret}
    assert caller.get(f"/v1/endpoints/{endpoint_id}/secret").json == {"secret": caller.secret}
    assert signing_texts(store, encryption, endpoint_id) == [caller.secret]


def test_after_a_rotation_the_old_secret_signs_too_until_the_overlap_ends(
    caller: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    first = caller.post("/v1/secret/rotate")
    second = caller.post("/v1/secret/rotate", {"overlap_seconds": 60}).json["secret"]
    assert first.status == 200
    assert caller.get("/v1/secret").json == {"secret": second}
    now_signing = signing_texts(store, encryption, endpoint_id)
    assert now_signing[0] == second
    assert sorted(now_signing) == sorted([second, first.json["secret"], caller.secret])
    assert signing_texts(store, encryption, endpoint_id, later=61) == [second]


def test_a_rotation_without_overlap_ends_every_old_secret_at_once(
    caller: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    caller.post("/v1/secret/rotate", {"overlap_seconds": 604_800})
    only = caller.post("/v1/secret/rotate", {"overlap_seconds": 0}).json["secret"]
    assert signing_texts(store, encryption, endpoint_id) == [only]
    kept = select(SigningSecret.id).where(SigningSecret.subscriber_id == caller.subscriber_id)
    assert len(store.read(lambda tx: tx.execute(kept).all())) == 1


def test_an_endpoint_that_rotates_gets_its_own_secret_and_the_subscribers_signs_for_a_while(
    caller: Caller, other: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    path = f"/v1/endpoints/{endpoint_id}/secret"
    assert other.post(f"{path}/rotate").status == 404
    own = caller.post(f"{path}/rotate", {"overlap_seconds": 100}).json["secret"]
    assert caller.get(path).json == {"secret": own}
    assert caller.get("/v1/secret").json == {"secret": caller.secret}
    assert signing_texts(store, encryption, endpoint_id) == [own, caller.secret]
    assert signing_texts(store, encryption, endpoint_id, later=101) == [own]
    caller.post("/v1/secret/rotate", {"overlap_seconds": 0})
    assert signing_texts(store, encryption, endpoint_id) == [own, caller.secret]


def test_a_limit_of_secrets_signs_at_once_but_a_leak_can_always_be_ended(caller: Caller) -> None:
    statuses = [caller.post("/v1/secret/rotate").status for _ in range(secrets.SIGN_AT_ONCE)]
    assert statuses == [200] * (secrets.SIGN_AT_ONCE - 1) + [409]
    assert caller.post("/v1/secret/rotate", {"overlap_seconds": 0}).status == 200


@pytest.mark.parametrize("overlap", [-1, 604_801, None, "60", 1.5])
def test_a_wrong_overlap_is_refused(caller: Caller, overlap: Any) -> None:
    got = caller.post("/v1/secret/rotate", {"overlap_seconds": overlap})
    assert (got.status, got.pointers) == (422, ["/overlap_seconds"])
