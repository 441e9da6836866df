"""The database's clock, whatever the machine's does (C10)."""

import time

import pytest

from relay.common.time import US_PER_SECOND, Micros
from relay.db import clock as clock_module
from relay.db.clock import DISAGREEMENT_US, REFRESH_AFTER, Clock
from relay.db.engine import Store, Tx
from relay.db.statements import database_now

HOUR = 3600 * US_PER_SECOND
CLOSE = US_PER_SECOND // 5  # of two clocks on a busy machine


class MachineClock:
    """Shifts the machine's wall clock, and makes monotonic seconds pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_ahead: Micros = 0
        self.passed = 0.0
        wall, monotonic, monotonic_ns = time.time_ns, time.monotonic, time.monotonic_ns
        monkeypatch.setattr(time, "time_ns", lambda: wall() + self.wall_ahead * 1000)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self.passed)
        monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns() + round(self.passed * 1e9))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> MachineClock:
    return MachineClock(monkeypatch)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever the database is asked for its time."""
    asked: list[int] = []

    def count(tx: Tx) -> int:
        asked.append(1)
        return database_now(tx)

    monkeypatch.setattr(clock_module, "database_now", count)
    return asked


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_C10_a_wall_clock_that_jumps_changes_nothing_until_the_database_is_asked_again(
    store: Store, machine: MachineClock, jump: Micros
) -> None:
    clock = Clock(store)
    before = clock.now()
    machine.wall_ahead = jump
    assert before <= clock.now() < before + CLOSE
    machine.passed = REFRESH_AFTER - 5
    assert abs(clock.now() - before - (REFRESH_AFTER - 5) * US_PER_SECOND) < CLOSE


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_C10_once_asked_again_a_server_still_has_the_same_time_and_sqlite_the_machines(
    store: Store, machine: MachineClock, jump: Micros
) -> None:
    """Receivers and the API need the true time, so SQLite's follows the machine's every change."""
    earlier = Clock(store)
    before = earlier.now()
    machine.wall_ahead = jump
    moved = jump if store.dialect.name == "sqlite" else 0
    later = Clock(store)  # a process that starts now
    assert abs(later.now() - earlier.now() - moved) < CLOSE  # they disagree for a minute at most
    machine.passed = REFRESH_AFTER + 1
    assert abs(earlier.now() - before - moved) < CLOSE


@pytest.mark.parametrize("apart", [HOUR, -HOUR])
def test_C10_machines_that_differ_by_an_hour_have_one_time(
    store: Store, machine: MachineClock, apart: Micros
) -> None:
    if store.dialect.name == "sqlite":
        pytest.skip("the processes of a SQLite database share one machine")
    here = Clock(store).now()
    machine.wall_ahead = apart
    there = Clock(store).now()
    assert abs(here - there) < CLOSE


def test_two_clocks_of_one_database_agree_and_never_run_backwards(store: Store) -> None:
    first, second = Clock(store), Clock(store)
    seen = [clock.now() for _ in range(50) for clock in (first, second)]
    assert max(abs(one - other) for one, other in zip(seen[::2], seen[1::2], strict=True)) < CLOSE
    assert seen[::2] == sorted(seen[::2])
    assert abs(seen[0] - store.read(database_now)) < CLOSE + US_PER_SECOND


def test_the_database_is_asked_once_a_minute(store: Store, machine: MachineClock, asked: list[int]) -> None:
    clock = Clock(store)
    start = clock.now()
    machine.passed = REFRESH_AFTER - 5
    clock.now()
    assert len(asked) == 1
    machine.passed = REFRESH_AFTER + 5
    clock.now()
    clock.now()
    assert len(asked) == 2
    assert abs(clock.now() - start) < HOUR


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_a_machine_that_is_far_off_is_reported_in_seconds(
    store: Store, machine: MachineClock, monkeypatch: pytest.MonkeyPatch, ahead: Micros
) -> None:
    said: list[float] = []
    true_time = store.read(database_now)
    monkeypatch.setattr(clock_module, "database_now", lambda _tx: true_time)
    machine.wall_ahead = ahead
    Clock(store, said.append).now()
    assert said == [pytest.approx(-ahead / US_PER_SECOND, abs=5)]


def test_a_machine_that_is_nearly_right_is_not_worth_a_word(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[float] = []
    monkeypatch.setattr(
        clock_module, "database_now", lambda _tx: time.time_ns() // 1000 + DISAGREEMENT_US - US_PER_SECOND
    )
    Clock(store, said.append).now()
    assert said == []


def test_while_the_database_is_away_the_last_offset_holds(
    store: Store, machine: MachineClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(store)
    before = clock.now()
    tries = 0

    def away(_tx: Tx) -> int:
        nonlocal tries
        tries += 1
        raise ConnectionError

    monkeypatch.setattr(clock_module, "database_now", away)
    machine.passed = REFRESH_AFTER + 1
    expected = before + round((REFRESH_AFTER + 1) * US_PER_SECOND)
    assert expected <= clock.now() < expected + CLOSE
    clock.now()
    assert tries == 1  # the next try comes a minute later


def test_an_answer_that_took_long_to_get_shifts_no_clock(
    store: Store, machine: MachineClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.read

    def slow_read(work: object) -> object:
        machine.passed += 8  # the database was away; a second try got through
        return read(work)  # type: ignore[arg-type]

    true_time = store.read(database_now)
    monkeypatch.setattr(clock_module, "database_now", lambda _tx: true_time)
    monkeypatch.setattr(store, "read", slow_read)
    assert 0 <= Clock(store).now() - true_time < CLOSE


def test_without_a_first_answer_there_is_no_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_tx: Tx) -> int:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(clock_module, "database_now", away)
        clock = Clock(store)
        with pytest.raises(ConnectionError):
            clock.now()
    assert abs(clock.now() - store.read(database_now)) < CLOSE + US_PER_SECOND
