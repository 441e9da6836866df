from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from time import monotonic

import pytest

from relay.sending.resolver import MAX_TTL, Blocked, Found, Resolution, Resolver, Unresolved
from relay.sending.sockets import Sockets
from relay.sending.ssrf_filter import SsrfFilter
from tests.support.dns import NameServer, Says

ALLOW = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Driver:
    """Drives one resolver, as the engine does; `ahead` moves its clock."""

    def __init__(self, server: NameServer) -> None:
        self.ahead = 0.0
        self.sockets = Sockets()
        self.resolver = Resolver(SsrfFilter(ALLOW), (server.address,), self._watch)

    def now(self) -> float:
        return monotonic() + self.ahead

    def ask(self, host: str) -> list[Resolution]:
        answers: list[Resolution] = []
        self.resolver.ask(host, self.now(), answers.append)
        return answers

    def run_until(self, done: Callable[[], object], seconds: float = 20.0) -> None:
        end = monotonic() + seconds
        while not done():
            assert monotonic() < end, f"not within {seconds} s"
            self.sockets.wait(0.02)
            if self.resolver.due is not None and self.resolver.due <= self.now():
                self.resolver.tick(self.now())

    def resolve(self, host: str) -> Resolution:
        known = self.resolver.known(host, self.now())
        if known is not None:
            return known
        answers = self.ask(host)
        self.run_until(lambda: answers)
        return answers[0]

    def _watch(self, fd: int, events: int) -> None:
        if events:
            self.sockets.watch(fd, events, self._ready)
        else:
            self.sockets.forget(fd)

    def _ready(self, fd: int, events: int) -> None:
        self.resolver.on_socket(fd, events, self.now())


@pytest.fixture
def names() -> Iterator[NameServer]:
    script: dict[str, Sequence[str] | Says] = {
        "both.test": ["127.0.0.1", "127.0.0.2", "::1"],
        "four.test": ["127.0.0.1"],
        "private.test": ["10.0.0.1"],
        "mixed.test": ["127.0.0.1", "169.254.169.254"],
        "mixed6.test": ["127.0.0.1", "fe80::1"],
        "empty.test": [],
        "broken.test": Says.SERVFAIL,
        "silent.test": Says.NOTHING,
    }
    with NameServer(script) as server:
        yield server


@pytest.fixture
def driver(names: NameServer) -> Iterator[Driver]:
    driver = Driver(names)
    yield driver
    driver.resolver.close()
    driver.sockets.close()


def test_addresses_of_both_families_are_found(driver: Driver) -> None:
    found = driver.resolve("both.test")
    assert isinstance(found, Found)
    assert set(found.addresses) == {"127.0.0.1", "127.0.0.2", "::1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_literals_ask_nobody(driver: Driver, names: NameServer, host: str) -> None:
    assert driver.resolver.known(host, driver.now()) == Found((host,))
    assert names.asked == []


def test_S1_forbidden_literals_are_blocked(driver: Driver) -> None:
    assert driver.resolver.known("10.0.0.1", driver.now()) == Blocked(
        "the host is 10.0.0.1, which is private (10.0.0.0/8); callbacks may not reach it"
    )


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("private.test", "private.test resolves to 10.0.0.1, which is private"),
        ("mixed.test", "169.254.169.254, which is link-local"),
        ("mixed6.test", "fe80::1, which is link-local"),
    ],
)
def test_S1_any_forbidden_address_blocks_the_name(driver: Driver, host: str, words: str) -> None:
    blocked = driver.resolve(host)
    assert isinstance(blocked, Blocked)
    assert words in blocked.detail


def test_S1_first_answer_allowed_second_private_is_blocked(driver: Driver, names: NameServer) -> None:
    names.ttl = 0
    assert isinstance(driver.resolve("four.test"), Found)
    names.script["four.test"] = ["192.168.0.1"]
    assert isinstance(driver.resolve("four.test"), Blocked)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("nowhere.test", "does not exist"),
        ("empty.test", "has no address"),
        ("broken.test", "could not resolve broken.test"),
    ],
)
def test_names_without_an_address_are_unresolved(driver: Driver, host: str, words: str) -> None:
    unresolved = driver.resolve(host)
    assert isinstance(unresolved, Unresolved)
    assert words in unresolved.detail


def test_the_hosts_file_is_honoured(driver: Driver, names: NameServer) -> None:
    found = driver.resolve("localhost")
    assert isinstance(found, Found)
    assert "127.0.0.1" in found.addresses
    assert names.asked == []


def test_an_answer_is_kept_for_its_ttl_and_no_longer(driver: Driver, names: NameServer) -> None:
    names.ttl = 5
    driver.resolve("four.test")
    driver.ahead += 4
    assert driver.resolver.known("four.test", driver.now()) == Found(("127.0.0.1",))
    driver.ahead += 2
    assert driver.resolver.known("four.test", driver.now()) is None


def test_a_long_ttl_is_kept_for_a_minute_at_most(driver: Driver, names: NameServer) -> None:
    names.ttl = 86_400
    driver.resolve("four.test")
    names.script["four.test"] = ["127.0.0.9"]
    driver.ahead += MAX_TTL - 1
    assert driver.resolve("four.test") == Found(("127.0.0.1",))
    driver.ahead += 2
    assert driver.resolve("four.test") == Found(("127.0.0.9",))


def test_waiters_for_one_host_share_one_question(driver: Driver, names: NameServer) -> None:
    answers = [driver.ask("four.test") for _ in range(50)]
    driver.run_until(lambda: all(answers))
    assert {answer[0] for answer in answers} == {Found(("127.0.0.1",))}
    assert names.asked.count("four.test") == 2  # A and AAAA


def test_H11_a_name_server_that_never_answers_is_given_up(driver: Driver) -> None:
    answers = driver.ask("silent.test")
    driver.run_until(lambda: answers)
    assert answers == [Unresolved("no name server answered the question for silent.test")]


def test_I6_a_thousand_names_that_never_answer_delay_no_other(driver: Driver, names: NameServer) -> None:
    names.script |= {f"hung{n}.test": Says.NOTHING for n in range(1000)}
    names.script |= {f"good{n}.test": ["127.0.0.1"] for n in range(20)}
    for n in range(1000):
        driver.ask(f"hung{n}.test")
    started = monotonic()
    answers = [driver.ask(f"good{n}.test") for n in range(20)]
    driver.run_until(lambda: all(answers))
    assert {answer[0] for answer in answers} == {Found(("127.0.0.1",))}
    assert monotonic() - started < 2


def test_closing_answers_every_waiter(driver: Driver) -> None:
    answers = driver.ask("silent.test")
    driver.resolver.close()
    assert isinstance(answers[0], Unresolved)
    assert driver.resolver.due is None
