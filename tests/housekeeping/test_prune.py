"""Pruning: old finished records go, in batches; what is open stays, however old (K4)."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, update

from relay.common.states import ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store
from relay.db.tables import Attempt, Delivery, Endpoint, IdempotentAnswer, Job, SigningSecret, Watch
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoint_changes
from relay.housekeeping.sql import prune
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets
from relay.watches import registration
from relay.watches.sql import endpoint_deletion
from tests.support.flow import World

DAY = 86_400.0
ONE_WRITER = "SQLite has one writer at a time"


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def prune_batch(world: World, before: Micros) -> dict[str, int]:
    """Prune one batch of what had ended before this moment."""
    return world.store.write(prune.batch, before, 0)


def prune_before(world: World, before: Micros) -> Counter[str]:
    """Prune until nothing is left to prune; the counts of all batches."""
    total: Counter[str] = Counter()
    while any((counts := prune_batch(world, before)).values()):
        total += Counter(counts)
    return total


def host(name: str) -> str:
    return f"https://{name}.example/hook"


def pause(world: World, url: str) -> None:
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint(url).id, world.now)


def deliver(world: World, name: str) -> str:
    """One delivered delivery to a host of that name."""
    (one,) = world.enqueue(1, host(name))
    world.record(world.claim().taken)
    assert world.delivery(one).status == "delivered"
    return one


def test_K4_what_is_open_is_never_pruned_however_old(world: World) -> None:
    deliver(world, "done")
    (held,) = world.enqueue(1, host("held"))
    pause(world, host("held"))
    (failing,) = world.enqueue(1, host("failing"))
    world.record(world.claim().taken, 500, ErrorClass.HTTP_5XX)
    (leased,) = world.enqueue(1, host("leased"))
    assert [one.id for one in world.claim().taken] == [leased]
    (due,) = world.enqueue(1, host("due"))
    waiting = world.watch(url=host("waiting"))
    owing = {world.delivery(one).watch_id for one in (held, failing, leased, due)}
    jobs_needed = {row.job for row in world.rows(Watch) if row.id in {waiting, *owing}}

    world.later(1000 * DAY)
    pruned = prune_before(world, world.now)
    assert (pruned["deliveries"], pruned["watches"], pruned["jobs"], pruned["endpoints"]) == (1, 1, 1, 0)
    assert {row.id for row in world.rows(Delivery)} == {held, failing, leased, due}
    assert {row.id for row in world.rows(Watch)} == {waiting, *owing}
    assert {row.id for row in world.rows(Job)} == jobs_needed
    assert [row.delivery_id for row in world.rows(Attempt)] == [failing]
    assert len(world.rows(Endpoint)) == 6


def test_what_has_ended_goes_with_its_attempts_once_it_is_old_enough(world: World) -> None:
    old = deliver(world, "old")
    watch = world.watch(url=host("cancelled"))
    world.store.write(registration.cancel, world.subscriber_id, watch, world.now)
    ended = world.now
    world.later(10 * DAY)
    young = deliver(world, "young")
    assert not prune_before(world, ended).total()
    assert prune_before(world, ended + 1) == {"deliveries": 1, "watches": 2, "jobs": 2}
    assert world.attempts(old) == []
    assert [row.id for row in world.rows(Delivery)] == [young]
    assert len(world.attempts(young)) == 1


def test_an_old_delivery_that_was_sent_again_of_late_stays(world: World) -> None:
    one = deliver(world, "again")
    world.later(10 * DAY)
    world.store.write(deliveries.retry, world.subscriber_id, one, world.now)
    world.record(world.claim().taken)
    assert not prune_before(world, world.now).total()
    assert len(world.attempts(one)) == 2


def test_a_job_stays_while_any_watch_of_it_does(world: World) -> None:
    one = deliver(world, "early")
    (watch,) = world.rows(Watch)
    (job,) = world.rows(Job, Job.id == watch.job)
    world.later(10 * DAY)
    late = world.watch(job.job_id, host("late"))
    pruned = prune_before(world, world.now)
    assert pruned == {"deliveries": 1, "watches": 1}
    assert [row.id for row in world.rows(Watch)] == [late]
    assert world.rows(Delivery, Delivery.id == one) == []


def test_a_large_backlog_goes_in_batches(world: World) -> None:
    backlog = 2 * prune.BATCH + 100
    made = world.register(*(world.request("job", metadata=f'{{"n":{n}}}') for n in range(backlog)))
    world.end_job(made[0].watch_id)
    cancelled = {"status": "cancelled", "due_at": None, "finished_at": world.now}
    world.store.write(lambda tx: tx.execute(update(Delivery).values(cancelled)))
    world.later(1)
    seen = [prune_batch(world, world.now) for _ in range(4)]
    assert [counts["deliveries"] for counts in seen] == [500, 500, 100, 0]
    assert [counts["watches"] for counts in seen] == [500, 500, 100, 0]
    assert [counts["jobs"] for counts in seen] == [0, 0, 1, 0]


def test_pruners_at_once_do_not_disturb_each_other(world: World) -> None:
    made = world.register(*(world.request("job", metadata=f'{{"n":{n}}}') for n in range(700)))
    world.end_job(made[0].watch_id)
    cancelled = {"status": "cancelled", "due_at": None, "finished_at": world.now}
    world.store.write(lambda tx: tx.execute(update(Delivery).values(cancelled)))
    world.later(1)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(prune_before, world, world.now) for _ in range(3)]
        totals = [future.result(60) for future in futures]
    assert sum(total["deliveries"] for total in totals) == 700
    assert sum(total["watches"] for total in totals) + prune_before(world, world.now)["watches"] == 700
    assert world.rows(Job) == []


def test_an_endpoint_goes_after_it_was_deleted_and_all_that_was_of_it(
    world: World, encryption: Encryption
) -> None:
    def make(name: str) -> str:
        wanted = {"url": host(name)}
        made = world.store.write(
            endpoint_changes.create, world.subscriber_id, wanted, encryption, world.now, world.new_id
        )
        return made[0]

    kept, gone, owing = make("kept"), make("gone"), make("owing")
    (one,) = world.enqueue(1, host("owing"))
    for endpoint_id in (gone, owing):
        world.store.write(endpoint_deletion.delete, world.subscriber_id, endpoint_id, world.now)
    deleted = world.now
    assert not prune_before(world, deleted).total()
    world.store.write(
        lambda tx: tx.execute(
            update(Delivery).values(finished_at=deleted + 5 * US_PER_SECOND).where(Delivery.id == one)
        )
    )
    assert prune_before(world, deleted + 1) == {"signing_secrets": 1, "endpoints": 1}
    assert {row.id for row in world.rows(Endpoint)} == {kept, owing}
    pruned = prune_before(world, deleted + 6 * US_PER_SECOND)
    assert (pruned["signing_secrets"], pruned["endpoints"]) == (1, 1)
    assert [row.endpoint_id for row in world.rows(SigningSecret)] == [kept]


def test_a_secret_goes_after_it_has_run_out(world: World, encryption: Encryption) -> None:
    for _ in range(2):
        world.store.write(
            secrets.rotate, world.subscriber_id, None, encryption, world.now, world.new_id, overlap=60
        )
    assert not prune_before(world, world.now + 60 * US_PER_SECOND).total()
    assert prune_before(world, world.now + 61 * US_PER_SECOND) == {"signing_secrets": 1}
    assert [row.expires_at for row in world.rows(SigningSecret)] == [None]


def test_a_kept_answer_goes_when_it_is_old_but_not_within_a_day(world: World) -> None:
    row = {"key": "k" * 64, "body_sha256": "b" * 64, "created_at": world.now}
    world.store.write(lambda tx: tx.execute(insert(IdempotentAnswer), row))
    assert not prune_before(world, world.later(DAY)).total()
    assert prune_before(world, world.now + 1) == {"idempotent_answers": 1}


def test_K4_what_is_made_pending_again_while_it_is_pruned_stays(world: World) -> None:
    if world.store.dialect.name == "sqlite":
        pytest.skip(ONE_WRITER)
    one = deliver(world, "again")
    (watch,) = world.rows(Watch)
    world.later(10 * DAY)
    with world.store.engine.connect() as person:
        deliveries.retry(person, world.subscriber_id, one, world.now)
        assert not any(prune_batch(world, world.now).values())  # and it waits for nobody
        person.commit()
    assert not prune_before(world, world.now).total()
    assert len(world.attempts(one)) == 1
    assert world.delivery(one).status == "pending"
    assert [row.id for row in world.rows(Watch)] == [watch.id]


def test_a_job_that_is_given_a_watch_while_it_is_pruned_stays(world: World) -> None:
    if world.store.dialect.name == "sqlite":
        pytest.skip(ONE_WRITER)
    watch = world.watch("job")
    world.store.write(registration.cancel, world.subscriber_id, watch, world.now)
    world.later(10 * DAY)
    with world.store.engine.connect() as caller:
        registration.register(
            caller, world.subscriber_id, [world.request("job", host("new"))], world.now, world.new_id
        )
        assert prune_batch(world, world.now)["jobs"] == 0
        caller.commit()
    assert prune_before(world, world.now)["jobs"] == 0
    assert [row.job_id for row in world.rows(Job)] == ["job"]
