"""Whether what a soak has left is as the rules have it: nothing lost, stuck, or sent too often."""

from collections import Counter
from typing import Any

from sqlalchemy import select

from bench.support_chaos import Chaos
from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store
from relay.db.tables import Attempt, Delivery, Endpoint
from relay.deliveries.rules.retry_policy import RetryPolicy
from relay.housekeeping.housekeeper import OVERDUE_EVERY

ATTEMPT_SECONDS = 2.0  # the soak's time-out


def judge(store: Store, chaos: Chaos, pending: int, ended_at: Micros, policy: RetryPolicy) -> list[str]:
    """Everything that is not as the rules have it.

    `ended_at` is when the processes were stopped, `policy` their retry policy.
    """
    rows = store.read(
        lambda tx: tx.execute(
            select(
                Delivery.id,
                Delivery.status,
                Delivery.attempt_count,
                Delivery.schedule_started_at,
                Endpoint.url,
                Endpoint.status.label("at"),
            )
            .add_columns(Endpoint.opened_at)
            .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        ).all()
    )
    attempts = store.read(
        lambda tx: tx.execute(select(Attempt.delivery_id, Attempt.number, Attempt.error)).all()
    )
    numbers: dict[str, list[int]] = {}
    lost: Counter[str] = Counter()
    timed_out: Counter[str] = Counter()
    for attempt in attempts:
        numbers.setdefault(attempt.delivery_id, []).append(attempt.number)
        lost[attempt.delivery_id] += attempt.error == ErrorClass.LOST
        timed_out[attempt.delivery_id] += attempt.error == ErrorClass.TIMEOUT
    print("ended as:", dict(Counter(row.status for row in rows)), f"{sum(lost.values())} attempts lost")
    wrong = [] if len(rows) >= pending else [f"{pending} were pending, {len(rows)} are there"]
    repeats = after_time_out = 0
    within = _blocked_within(policy)
    for row in rows:
        given = chaos.answers.get(row.id, Counter())
        accepted = sum(times for status, times in given.items() if 200 <= status <= 299)
        repeats += max(accepted - 1, 0)
        late = min(max(accepted - 1 - lost[row.id], 0), timed_out[row.id])
        after_time_out += late
        wrong += _judge_one(row, sorted(numbers.get(row.id, [])), accepted - late, lost[row.id])
        wrong += _judge_wait(row, ended_at, within)
    print(f"{repeats} repeats after a 2xx, {after_time_out} of them after one that came beyond the time-out")
    return wrong[:20]


def _judge_one(row: Any, numbers: list[int], accepted: int, lost: int) -> list[str]:
    wrong = []
    in_flight = row.status == DeliveryStatus.PENDING and len(numbers) == row.attempt_count - 1
    if numbers != list(range(1, row.attempt_count + 1 - in_flight)):
        wrong.append(f"{row.id} has {row.attempt_count} attempts, on record are {numbers}")
    if accepted > 1 + lost:
        wrong.append(f"{row.id} was accepted {accepted} times with {lost} attempts lost ({row.url})")
    drips = "/drip/" in row.url
    if row.status == DeliveryStatus.DELIVERED and not accepted and not drips:
        wrong.append(f"{row.id} is on record as delivered, but was never accepted ({row.url})")
    if row.status == DeliveryStatus.PENDING and row.at == "active" and row.opened_at is None:
        wrong.append(f"{row.id} is stuck ({row.url})")
    return wrong


def _judge_wait(row: Any, ended_at: Micros, within: float) -> list[str]:
    if row.status != DeliveryStatus.PENDING or row.at != "active" or row.opened_at is None:
        return []
    waited = (ended_at - row.schedule_started_at) / US_PER_SECOND
    return [f"{row.id} waited {waited:.0f} s at an open circuit ({row.url})"] * (waited > within)


def _blocked_within(policy: RetryPolicy) -> float:
    """Seconds after which what is behind an open circuit has failed, by its own age."""
    return (
        1.2 * sum(policy.delays)  # its retries, should the circuit have opened only then
        + ATTEMPT_SECONDS * (len(policy.delays) + 1)
        + policy.longest_wait / US_PER_SECOND
        + 1.2 * (10 + 20 + 40)  # three probes, after which housekeeping fails what is overdue
        + 2 * OVERDUE_EVERY  # one may be missed
    )
