"""Signing keys of dispatchers: rotations and ends of overlaps count from the next claim on."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from relay.db.engine import Store
from relay.deliveries import signing_keys
from relay.deliveries.signing_keys import Keyring
from relay.deliveries.sql import deliveries
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery
from relay.sandbox.receiver import Received, Receiver
from relay.sending.rules.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from relay.subscribers.encryption import Encryption
from relay.subscribers.rules.secret_texts import parse_secret
from relay.subscribers.sql import reencryption, secrets
from tests.support.dispatch import ENCRYPTION, Fleet, running_fleet
from tests.support.flow import World

HOOK = "https://example.com/hook"


# A running dispatcher.


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path, _processes: None) -> Iterator[Fleet]:
    with running_fleet(own_database_url, tmp_path) as fleet:
        yield fleet


def rotate_in(fleet: Fleet, endpoint_id: str | None, overlap: int) -> str:
    world = fleet.world
    return fleet.store.write(
        secrets.rotate,
        world.subscriber_id,
        endpoint_id,
        ENCRYPTION,
        fleet.clock.now(),
        world.new_id,
        overlap=overlap,
    )


def is_signed_by(one: Received, *texts: str) -> bool:
    """Whether these secrets sign, in this order, and no other."""
    expected = sign(
        [parse_secret(text) for text in texts], one.id, int(one.headers[TIMESTAMP_HEADER]), one.body
    )
    return one.headers[SIGNATURE_HEADER] == expected


@pytest.mark.parametrize("whose", ["the subscriber's", "the endpoint's"])
def test_the_very_next_webhook_after_a_rotation_is_signed_as_it_says(fleet: Fleet, whose: str) -> None:
    own = whose == "the endpoint's"
    with Receiver() as receiver:
        urls = [f"{receiver.url}/a", f"{receiver.url}/b"]

        def next_ones() -> list[Received]:
            before = receiver.count
            fleet.enqueue(urls)
            came = receiver.wait_for(before + 2, 20)[before:]
            return sorted(came, key=lambda one: one.path)

        fleet.dispatcher()
        assert all(is_signed_by(one, fleet.secret) for one in next_ones())
        endpoint_id = fleet.world.endpoint(urls[0]).id if own else None

        second = rotate_in(fleet, endpoint_id, overlap=0)
        first, other = next_ones()
        assert is_signed_by(first, second)
        assert is_signed_by(other, fleet.secret if own else second)

        third = rotate_in(fleet, endpoint_id, overlap=3600)
        first, other = next_ones()
        assert is_signed_by(first, third, second)
        assert is_signed_by(other, fleet.secret) if own else is_signed_by(other, third, second)


# The keyring of a claimer.


@pytest.fixture
def world(own_store: Store) -> World:
    world = World(own_store)
    make_secret(world)
    return world


def make_secret(world: World) -> str:
    return world.store.write(secrets.create, world.subscriber_id, None, ENCRYPTION, world.now, world.new_id)


def rotate(world: World, overlap: int = 0) -> str:
    return world.store.write(
        secrets.rotate, world.subscriber_id, None, ENCRYPTION, world.now, world.new_id, overlap=overlap
    )


def claim_one(world: World) -> ClaimedDelivery:
    world.enqueue()
    (taken,) = world.claim().taken
    world.record([taken])
    return taken


def fetched(ring: Keyring, world: World) -> list[bytes]:
    """The keys for the next claim."""
    taken = claim_one(world)
    ring.fetch([taken], world.now)
    return list(ring.secrets(taken, world.now))


def keys(*texts: str) -> list[bytes]:
    return [parse_secret(text) for text in texts]


def test_an_old_secret_signs_until_its_overlap_ends_and_no_longer(world: World) -> None:
    ring = Keyring(world.store, ENCRYPTION)
    (old,) = fetched(ring, world)
    new = rotate(world, overlap=10)
    assert fetched(ring, world) == [*keys(new), old]
    world.later(9.9)
    assert fetched(ring, world) == [*keys(new), old]
    world.later(0.1)
    assert fetched(ring, world) == keys(new)


def test_a_test_that_is_claimed_after_a_rotation_is_signed_with_the_new_secret(world: World) -> None:
    ring = Keyring(world.store, ENCRYPTION)
    fetched(ring, world)
    new = rotate(world)
    endpoint_id = world.endpoint().id
    world.store.write(deliveries.send_test, world.subscriber_id, endpoint_id, world.now, world.new_id)
    (test,) = world.claim().taken
    ring.fetch([test], world.now)
    assert list(ring.secrets(test, world.now)) == keys(new)


def test_secrets_are_read_anew_only_after_a_rotation_or_a_minute(world: World) -> None:
    ring = Keyring(world.store, ENCRYPTION)
    transactions: list[object] = []
    event.listen(world.store.engine, "begin", transactions.append)

    def reads(taken: ClaimedDelivery) -> int:
        before = len(transactions)
        ring.fetch([taken], world.now)
        ring.secrets(taken, world.now)
        return len(transactions) - before

    assert [reads(claim_one(world)) for _ in range(3)] == [1, 0, 0]
    rotate(world)
    assert [reads(claim_one(world)) for _ in range(2)] == [1, 0]
    world.later(60)
    assert [reads(claim_one(world)) for _ in range(2)] == [1, 0]


def test_every_one_of_many_rotations_at_once_is_counted(world: World) -> None:
    """Also the first ones, which make the row that counts them."""
    worlds = [world, *(World(world.store) for _ in range(5))]
    for other in worlds[1:]:
        make_secret(other)
    start = threading.Barrier(len(worlds))

    def work(one: World) -> None:
        start.wait()
        for _ in range(3):
            rotate(one)

    threads = [threading.Thread(target=work, args=(one,)) for one in worlds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert claim_one(world).rotations == 18


def test_headers_that_were_changed_or_sealed_anew_leave_nothing_behind(world: World) -> None:
    between = Encryption([b"n" * 32, b"m" * 32])
    ring = Keyring(world.store, between)
    endpoint_id = claim_one(world).endpoint_id
    for number in range(50):
        sealed = ENCRYPTION.encrypt(endpoint_id, json.dumps({"X-Key": str(number)}))
        world.set_endpoint(HOOK, headers_sealed=sealed)
        assert headers_of(ring, world) == {"X-Key": str(number)}
    assert reencryption.reencrypt(world.store, between, reencryption.KINDS[1]).count == 1
    assert headers_of(ring, world) == {"X-Key": "49"}
    assert len(ring._headers) == 1


def headers_of(ring: Keyring, world: World) -> dict[str, str]:
    taken = claim_one(world)
    ring.fetch([taken], world.now)
    return dict(ring.headers(taken.endpoint_id, taken.headers_sealed))


def test_nothing_is_kept_beyond_a_minute_of_endpoints_that_send_no_more(world: World) -> None:
    ring = Keyring(world.store, ENCRYPTION)
    for number in range(5):
        url = f"{HOOK}/{number}"
        world.enqueue(1, url)
        world.set_endpoint(url, headers_sealed=ENCRYPTION.encrypt(world.endpoint(url).id, '{"X-Key": "v"}'))
    taken = world.claim().taken
    ring.fetch(taken, world.now)
    assert [ring.headers(one.endpoint_id, one.headers_sealed) for one in taken] == [(("X-Key", "v"),)] * 5
    world.later(60)
    world.record(taken)
    fetched(ring, world)
    assert (len(ring._secrets), len(ring._headers)) == (1, 0)


def test_beyond_so_many_endpoints_all_is_forgotten_but_what_is_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "MOST", 3)
    ring = Keyring(world.store, ENCRYPTION)
    for number in range(5):
        world.enqueue(1, f"{HOOK}/{number}")
    ring.fetch(world.claim().taken, world.now)
    assert len(ring._secrets) == 5
    assert len(fetched(ring, world)) == 1
    assert len(ring._secrets) == 1
