"""Resolves names by c-ares, thousands at a time, on its caller's thread; each address is judged.

libcurl's own resolver is threads, twenty at most: twenty names that hang would stop everybody. Here
a name that never answers costs a socket. One question per host is under way at a time; later askers
wait for the same answer. Any forbidden address makes the whole answer `Blocked`.

Nothing here blocks, starts a thread or reads a clock: the caller watches the sockets and passes the
monotonic clock's seconds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from socket import SOCK_STREAM

import pycares
from pycares import errno as ares

from relay.endpoints.rules.addresses import is_literal
from relay.sending.sockets import READ, WRITE
from relay.sending.ssrf_filter import SsrfFilter

MAX_TTL = 60.0  # seconds; a receiver that moves is followed within a minute, whatever its zone says
MAX_CACHED = 10_000  # hosts
TRIES, TRY_SECONDS = 3, 1.5  # c-ares doubles the wait: a dead name server is given up after about 10 s
MIN_TICK = 0.01  # seconds; c-ares's timers need no better, and the caller must never spin on them
QUESTION_SECONDS = 60.0  # a question that c-ares never ended is asked anew after this

NO_SUCH_NAME = frozenset({ares.ARES_ENOTFOUND, ares.ARES_ENODATA, ares.ARES_EBADNAME})


@dataclass(frozen=True, slots=True)
class Found:
    """Every address of a host, each of them allowed, in the order in which to try them."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """The host has no address, or no name server answered; `detail` is a sentence."""

    detail: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """The host has an address that callbacks may not reach; `detail` names it in a sentence."""

    detail: str


Resolution = Found | Unresolved | Blocked
Waiter = Callable[[Resolution], None]
SocketWatcher = Callable[[int, int], None]


@dataclass(slots=True)
class _Channel:
    """One c-ares channel and how many of its questions are open.

    A channel reads the system's servers once, and its own cache heeds only the zones' TTL; opening
    a new channel each minute bounds both. An old channel lives until its questions have ended.
    """

    channel: pycares.Channel
    until: float
    questions: int = 0

    def seconds_left(self) -> float:
        """Seconds until c-ares wants to be called."""
        seconds: float = self.channel.timeout()  # type: ignore[no-untyped-call]  # pycares leaves it bare
        return max(seconds, MIN_TICK)


@dataclass(slots=True)
class _Question:
    """A host that is being asked for, and the callbacks that wait for its addresses."""

    asked_at: float
    waiters: list[Waiter] = field(default_factory=list)


class Resolver:
    """Resolves host names for one thread.

    `servers` are the name servers to ask, as `ip` or `ip:port`; none means the system's. `watch` is
    called with `(fd, events)` whenever the interest in one of the resolver's sockets changes, with
    no events before the first and after the last of a socket: its number may have been another's.

    `due` is when `tick` must be called; None while no question is open.
    """

    def __init__(self, ssrf_filter: SsrfFilter, servers: Sequence[str], watch: SocketWatcher) -> None:
        self._ssrf_filter = ssrf_filter
        self._servers = list(servers)
        self._watch = watch
        self._cache: dict[str, tuple[Resolution, float]] = {}  # until when
        self._questions: dict[str, _Question] = {}
        self._channels: list[_Channel] = []
        self._channel_of: dict[int, _Channel] = {}
        self._now = 0.0
        self.due: float | None = None

    def known(self, host: str, now: float) -> Resolution | None:
        """The answer, if the host is an address or in the cache; else `ask`."""
        cached = self._cache.get(host)
        if cached is not None and now < cached[1]:
            return cached[0]
        return self._remember(host, self._judged(host, [host]), now + MAX_TTL) if is_literal(host) else None

    def ask(self, host: str, now: float, waiter: Waiter) -> None:
        """Ask for a host; `waiter` is called once, perhaps before this returns, and must not raise.

        An answer may take as long as c-ares tries.
        """
        self._now = now
        question = self._questions.get(host)
        if question is not None and now - question.asked_at < QUESTION_SECONDS:
            question.waiters.append(waiter)
            return
        question = self._questions[host] = _Question(now, [waiter])
        channel = self._open_channel(now)
        channel.questions += 1
        answered = partial(self._answered, channel, host, question)
        channel.channel.getaddrinfo(host, None, type=SOCK_STREAM, callback=answered)
        self._set_due()

    def on_socket(self, fd: int, events: int, now: float) -> None:
        """Let c-ares read and write one of its sockets that is ready."""
        self._now = now
        channel = self._channel_of.get(fd)
        if channel is not None:
            bad = pycares.ARES_SOCKET_BAD
            channel.channel.process_fd(fd if events & READ else bad, fd if events & WRITE else bad)
            self._set_due()

    def tick(self, now: float) -> None:
        """Let c-ares run its timers: it asks again, or gives up."""
        self._now = now
        for channel in tuple(self._channels):
            if channel.questions:
                channel.channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        self._close_unused()
        self._set_due()

    def close(self) -> None:
        """End every question, on this thread; each waiter is called."""
        for channel in self._channels:
            channel.channel.cancel()
            channel.channel.close()
        self._channels.clear()
        self.due = None

    def _open_channel(self, now: float) -> _Channel:
        if self._channels and now < self._channels[-1].until:
            return self._channels[-1]
        self._close_unused()
        lookup = pycares.Channel(
            servers=self._servers or None,
            timeout=TRY_SECONDS,
            tries=TRIES,
            sock_state_cb=lambda fd, readable, writable: self._interest(channel, fd, readable, writable),
        )
        channel = _Channel(lookup, now + MAX_TTL)
        self._channels.append(channel)
        return channel

    def _set_due(self) -> None:
        seconds = [channel.seconds_left() for channel in self._channels if channel.questions]
        self.due = self._now + min(seconds) if seconds else None

    def _interest(self, channel: _Channel, fd: int, readable: int, writable: int) -> None:
        if readable or writable:
            if fd not in self._channel_of:
                self._watch(fd, 0)
            self._channel_of[fd] = channel
        else:
            self._channel_of.pop(fd, None)
        self._watch(fd, (READ if readable else 0) | (WRITE if writable else 0))

    def _close_unused(self) -> None:
        for channel in tuple(self._channels):
            if not channel.questions and channel.until <= self._now:
                self._channels.remove(channel)
                channel.channel.close()

    def _answered(
        self,
        channel: _Channel,
        host: str,
        question: _Question,
        result: pycares.AddrInfoResult | None,
        error: int | None,
    ) -> None:
        channel.questions -= 1
        if self._questions.get(host) is question:
            del self._questions[host]
        resolution = _failure(host, error) if result is None else self._keep(host, result)
        for waiter in question.waiters:
            waiter(resolution)

    def _keep(self, host: str, result: pycares.AddrInfoResult) -> Resolution:
        resolution = self._judged(host, dict.fromkeys(node.addr[0].decode() for node in result.nodes))
        ttls = [node.ttl for node in result.nodes] + [cname.ttl for cname in result.cnames]
        ttl = min(ttls, default=0)  # 0 from the hosts file: c-ares sees its changes at once
        return self._remember(host, resolution, self._now + min(ttl, MAX_TTL)) if ttl > 0 else resolution

    def _remember(self, host: str, resolution: Resolution, until: float) -> Resolution:
        if len(self._cache) >= MAX_CACHED:
            self._cache = {host: entry for host, entry in self._cache.items() if self._now < entry[1]}
        while len(self._cache) >= MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[host] = resolution, until
        return resolution

    def _judged(self, host: str, addresses: Iterable[str]) -> Resolution:
        found = tuple(addresses)
        for address in found:
            reason = self._ssrf_filter.judge(address)
            if reason is not None:
                where = "the host is" if address == host else f"{host} resolves to"
                return Blocked(f"{where} {address}, which is {reason}; callbacks may not reach it")
        return Found(found) if found else Unresolved(f"the name {host} has no address")


def _failure(host: str, error: int | None) -> Unresolved:
    if error in NO_SUCH_NAME:
        return Unresolved(f"the name {host} does not exist, or has no address")
    if error == ares.ARES_ETIMEOUT:
        return Unresolved(f"no name server answered the question for {host}")
    why = ares.errorcode.get(error or ares.ARES_SUCCESS, "unknown error")
    return Unresolved(f"the name servers could not resolve {host} ({why})")
