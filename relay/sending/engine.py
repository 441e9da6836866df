"""The transfers of one sender, on one thread: libcurl's multi interface beside the resolver.

    begin ─▶ check the URL ─▶ resolve, check the addresses ─▶ load a handle ─▶ transfer ─▶ reply
                 └──────────────────┴── refused, or out of time ──────────────────────────▲

Time is the monotonic clock's: seconds for time-outs, microseconds for durations.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from heapq import heappop, heappush
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from time import monotonic
from typing import NamedTuple, assert_never

import certifi
import pycurl

from relay.common.errors import whereabouts
from relay.common.states import ErrorClass
from relay.common.time import US_PER_SECOND
from relay.endpoints.rules.addresses import Network, check_url
from relay.sending.hosts import Hosts, bracketed
from relay.sending.resolver import Blocked, Found, Resolution, Resolver, Unresolved
from relay.sending.rules.outbound import OutboundRequest, Reply, SenderOptions, pack
from relay.sending.sockets import READ, WRITE, Sockets
from relay.sending.ssrf_filter import SsrfFilter
from relay.sending.transfer import Shared, Target, Transfer

ANYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
LINGER = 2.0  # seconds that the body of a 2xx may take after its headers came whole
REMEMBERED_URLS = 4096  # endpoints without a query are sent to again and again: their URLs are checked once


class _Lookup(NamedTuple):
    """A request that waits for its host's addresses; `due` is when its deadline is over."""

    request: OutboundRequest
    target: Target
    started: float
    due: float


class Engine:
    """Runs transfers; `deliver` is called with one reply for each request, on the same thread."""

    def __init__(self, options: SenderOptions, sockets: Sockets, deliver: Callable[[Reply], None]) -> None:
        ssrf_filter = SsrfFilter(options.allow)
        self._sockets = sockets
        self._deliver = deliver
        self._resolver = Resolver(ssrf_filter, options.dns_servers, self._watch_resolver)
        self._shared = Shared(
            ssrf_filter,
            Hosts(),
            str(options.ca_file or certifi.where()),
            options.connect_timeout,
            sockets.forget,
            self._on_success_headers,
        )
        self._check = lru_cache(maxsize=REMEMBERED_URLS)(partial(_check, options.schemes))
        self._multi = self._open_multi(options.max_connections)
        self._libcurl_due: float | None = None
        self._ticket = count()
        self._lookups: dict[int, _Lookup] = {}
        self._lookups_due: list[tuple[float, int]] = []
        self._resolved: deque[tuple[int, Resolution]] = deque()
        self._active: dict[pycurl.Curl, Transfer] = {}
        self._answered: list[tuple[Transfer, int]] = []
        self._lingering: deque[tuple[float, Transfer, int]] = deque()
        self._idle: list[Transfer] = []

    def _open_multi(self, max_connections: int) -> pycurl.CurlMulti:
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch_libcurl)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._on_libcurl_timer)
        multi.setopt(pycurl.M_MAXCONNECTS, max_connections)
        return multi

    def begin(self, request: OutboundRequest) -> None:
        """Start sending a request, or refuse it where our code fails on it, as that would recur."""
        started = monotonic()
        try:
            self._begin(request, started)
        except Exception as error:  # noqa: BLE001 - see above
            self._refuse_unexpected(request, started, error)

    def _begin(self, request: OutboundRequest, started: float) -> None:
        target = self._check(request.url)
        if isinstance(target, str):
            self._refuse(request, started, ErrorClass.BLOCKED_ADDRESS, target)
            return
        lookup = _Lookup(request, target, started, started + request.deadline)
        resolution = self._resolver.known(target.host, started)
        if resolution is None:
            self._look_up(lookup)
        else:
            self._send(lookup, resolution)

    def run_once(self, *, wait: bool) -> None:
        """Do what is due; with `wait`, wait for it or for another socket of `sockets` first."""
        self._sockets.wait(self._until_due() if wait else 0.0)
        now = monotonic()
        self._run_timers(now)
        self._send_resolved()
        self._finish_ended()
        self._keep_lingering(now)
        self._end_overdue(now)

    def abandon(self, error: ErrorClass, detail: str) -> None:
        """Answer everything that is under way with this error; only `close` may follow."""
        now = monotonic()
        for lookup in self._lookups.values():
            self._refuse(lookup.request, lookup.started, error, detail)
        for transfer in self._active.values():
            self._deliver(transfer.abandoned(error, detail, now))

    def close(self) -> None:
        """Close every connection and socket; what is under way must have been abandoned."""
        for handle in self._active:
            self._multi.remove_handle(handle)
        self._resolver.close()
        self._multi.close()
        self._sockets.forget_all()

    def _look_up(self, lookup: _Lookup) -> None:
        ticket = next(self._ticket)
        host, asked_at = lookup.target.host, lookup.started
        self._resolver.ask(host, asked_at, lambda resolution: self._resolved.append((ticket, resolution)))
        self._lookups[ticket] = lookup
        heappush(self._lookups_due, (lookup.due, ticket))

    def _send_resolved(self) -> None:
        while self._resolved:
            ticket, resolution = self._resolved.popleft()
            lookup = self._lookups.pop(ticket, None)
            if lookup is not None:
                try:
                    self._send(lookup, resolution)
                except Exception as error:  # noqa: BLE001 - as in `begin`
                    self._refuse_unexpected(lookup.request, lookup.started, error)

    def _send(self, lookup: _Lookup, resolution: Resolution) -> None:
        match resolution:
            case Found(addresses):
                self._transfer(lookup, addresses)
            case Unresolved(detail):
                self._refuse(lookup.request, lookup.started, ErrorClass.DNS, detail)
            case Blocked(detail):
                self._refuse(lookup.request, lookup.started, ErrorClass.BLOCKED_ADDRESS, detail)
            case _:
                assert_never(resolution)

    def _transfer(self, lookup: _Lookup, addresses: tuple[str, ...]) -> None:
        seconds = lookup.due - monotonic()
        if seconds <= 0:
            self._refuse_late(lookup)
            return
        request = lookup.request
        transfer = self._idle.pop() if self._idle else Transfer(self._shared)
        transfer.load(request, pack(request), lookup.target, addresses, lookup.started, seconds)
        self._multi.add_handle(transfer.handle)
        self._active[transfer.handle] = transfer

    def _refuse(self, request: OutboundRequest, started: float, error: ErrorClass, detail: str) -> None:
        """Reply to a request that did not become a transfer."""
        duration = round((monotonic() - started) * US_PER_SECOND)
        self._deliver(Reply(request.key, None, error, detail, b"", duration))

    def _refuse_late(self, lookup: _Lookup) -> None:
        host, seconds = lookup.target.host, lookup.request.deadline
        detail = f"no name server answered the question for {host} within {seconds:g} s"
        self._refuse(lookup.request, lookup.started, ErrorClass.DNS, detail)

    def _refuse_unexpected(self, request: OutboundRequest, started: float, error: Exception) -> None:
        """Reply to a request that our code failed on; the error's text may hold a header of it."""
        detail = f"the relay could not make this request ({whereabouts(error)})"
        self._refuse(request, started, ErrorClass.INTERNAL, detail)

    def _finish_ended(self) -> None:
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for handle in succeeded:
                self._finish(self._active[handle], pycurl.E_OK, "")
            for handle, code, message in failed:
                self._finish(self._active[handle], code, message)

    def _finish(self, transfer: Transfer, code: int, message: str) -> None:
        self._deliver(transfer.reply(code, message, monotonic()))
        del self._active[transfer.handle]
        self._multi.remove_handle(transfer.handle)
        transfer.unload()
        self._idle.append(transfer)

    def _on_success_headers(self, transfer: Transfer) -> None:
        self._answered.append((transfer, transfer.serial))

    def _keep_lingering(self, now: float) -> None:
        """Give a 2xx whose body is still coming a little longer; most have ended already."""
        for transfer, serial in self._answered:
            if transfer.serial == serial:
                self._lingering.append((now + LINGER, transfer, serial))
        self._answered.clear()

    def _end_overdue(self, now: float) -> None:
        while self._lingering and self._lingering[0][0] <= now:
            _, transfer, serial = self._lingering.popleft()
            if transfer.serial == serial:
                self._finish(transfer, pycurl.E_OK, "")
        while self._lookups_due and self._lookups_due[0][0] <= now:
            lookup = self._lookups.pop(heappop(self._lookups_due)[1], None)
            if lookup is not None:
                self._refuse_late(lookup)

    def _until_due(self) -> float | None:
        if self._resolved:
            return 0.0  # the resolver may have answered at once: from the hosts file, or with an error
        dues = [due for due in (self._libcurl_due, self._resolver.due) if due is not None]
        if self._lingering:
            dues.append(self._lingering[0][0])
        if self._lookups_due:
            dues.append(self._lookups_due[0][0])
        return max(0.0, min(dues) - monotonic()) if dues else None

    def _run_timers(self, now: float) -> None:
        if self._libcurl_due is not None and self._libcurl_due <= now:
            self._libcurl_due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if self._resolver.due is not None and self._resolver.due <= now:
            self._resolver.tick(now)

    def _on_libcurl_timer(self, milliseconds: int) -> None:
        self._libcurl_due = None if milliseconds < 0 else monotonic() + milliseconds / 1000

    def _watch_libcurl(self, action: int, fd: int, _multi: pycurl.CurlMulti, _tag: object) -> None:
        events = action & (READ | WRITE)
        if events:
            self._sockets.watch(fd, events, self._multi.socket_action)
        else:
            self._sockets.suspend(fd)

    def _watch_resolver(self, fd: int, events: int) -> None:
        if events:
            self._sockets.watch(fd, events, self._on_resolver_ready)
        else:
            self._sockets.forget(fd)

    def _on_resolver_ready(self, fd: int, events: int) -> None:
        self._resolver.on_socket(fd, events, monotonic())


def _check(schemes: Sequence[str], url: str) -> Target | str:
    """Check a URL's scheme and form; the SSRF filter checks its host once that is resolved."""
    checked = check_url(url, schemes, ANYWHERE)
    if isinstance(checked, str):
        return checked
    return Target(checked.host, f"{bracketed(checked.host)}:{checked.port}", checked.full)
