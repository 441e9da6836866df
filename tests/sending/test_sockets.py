"""Readiness of sockets: a suspended one is neither lost nor mistaken for another."""

import os
import socket
from collections.abc import Iterator
from time import monotonic

import pytest

from relay.sending.sockets import READ, WRITE, Sockets


class Heard:
    """Sockets under test, and what their handler was called with."""

    def __init__(self) -> None:
        self.sockets = Sockets()
        self.calls: list[tuple[int, int]] = []

    def watch(self, sock: socket.socket, events: int) -> None:
        self.sockets.watch(sock.fileno(), events, lambda fd, ready: self.calls.append((fd, ready)))

    def wait(self) -> list[tuple[int, int]]:
        """What one wait of half a second at most brings."""
        self.calls.clear()
        self.sockets.wait(0.5)
        return list(self.calls)


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    yield heard
    heard.sockets.close()


def test_a_suspended_socket_is_heard_again(heard: Heard) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        heard.watch(ours, READ)
        heard.sockets.suspend(ours.fileno())
        heard.watch(ours, READ)
        theirs.send(b"x")
        assert heard.wait() == [(ours.fileno(), READ)]


def test_an_event_on_a_suspended_socket_calls_nobody_and_is_seen_once_it_is_watched(heard: Heard) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        heard.watch(ours, READ)
        heard.sockets.suspend(ours.fileno())
        theirs.close()
        assert heard.wait() == []
        heard.watch(ours, READ)
        assert heard.wait() == [(ours.fileno(), READ)]


def test_a_peer_that_left_ends_a_wait_of_a_suspended_socket_once_and_not_for_ever(heard: Heard) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        heard.watch(ours, READ)
        heard.sockets.suspend(ours.fileno())
        theirs.close()
        heard.wait()
        started = monotonic()
        heard.wait()
        assert monotonic() - started > 0.4  # it waits its whole time


@pytest.mark.parametrize("suspended", [True, False])
def test_a_number_that_stands_for_a_new_socket_is_watched_anew(heard: Heard, *, suspended: bool) -> None:
    number = 200  # which nobody else is given here
    first, far = socket.socketpair()
    with first, far, socket.socket(fileno=os.dup2(first.fileno(), number)) as old:
        first.close()  # as the kernel forgets a socket only with the last of its numbers
        heard.watch(old, READ)
        if suspended:
            heard.sockets.suspend(number)
    second, far = socket.socketpair()
    with second, far, socket.socket(fileno=os.dup2(second.fileno(), number)) as new:
        heard.sockets.forget(number)
        heard.watch(new, READ)
        far.send(b"x")
        assert heard.wait() == [(number, READ)]
        heard.sockets.forget(number)
        assert heard.wait() == []


def test_a_number_that_was_closed_unannounced_can_be_forgotten_and_watched_again(heard: Heard) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        number = ours.fileno()
        heard.watch(ours, READ)
        ours.close()
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
            heard.sockets.watch(number, READ | WRITE, lambda *_: None)
    heard.sockets.forget(number)
    near, far = socket.socketpair()
    with near, far:
        heard.watch(near, READ)
        far.send(b"x")
        assert heard.wait() == [(near.fileno(), READ)]


def test_events_change_while_a_socket_is_watched(heard: Heard) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        heard.watch(ours, READ)
        heard.watch(ours, READ | WRITE)
        assert heard.wait() == [(ours.fileno(), WRITE)]
        heard.watch(ours, READ)
        assert heard.wait() == []
        heard.sockets.forget_all()
        theirs.send(b"x")
        assert heard.wait() == []
