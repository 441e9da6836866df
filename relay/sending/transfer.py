"""One libcurl easy handle: its fixed options, those of each request, and what is kept of an answer.

Handles are made once and reused: only the URL, the headers, the body, the deadline and the
addresses change.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pycurl

from relay.common.states import ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.sending import attempt_errors
from relay.sending.attempt_errors import AttemptError
from relay.sending.hosts import Hosts
from relay.sending.rules.outbound import OutboundRequest, Packed, Reply
from relay.sending.ssrf_filter import OpenSocket, SsrfFilter

MAX_BODY = 16 * 1024  # bytes kept of an answer for people to read
MAX_BODY_OF_2XX = 1024
MAX_RETRY_AFTER = 256  # characters; the longest form that means anything has 29

# libcurl sends again by itself when a reused connection dies without a byte of answer. It may do so
# once: a receiver that reads and closes on every pooled connection must not be sent to five times.
MAX_SENDS = 2

DNS_CACHE_FOR_EVER = -1  # see `hosts`

# A connection is reused for this long at most, so that a receiver that moved is followed.
MAX_CONNECTION_SECONDS = 60

_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})(?![0-9])")  # libcurl reads 2000 as 200


@dataclass(frozen=True, slots=True)
class Shared:
    """What all transfers of one engine share; `on_socket` takes the number of each new socket."""

    ssrf_filter: SsrfFilter
    hosts: Hosts
    ca_file: str
    connect_timeout: float  # seconds
    on_socket: Callable[[int], None]
    on_success_headers: Callable[["Transfer"], None]


class Target(NamedTuple):
    """The host to resolve, `host:port` as libcurl keeps it, and the URL to send to."""

    host: str
    name: str
    url: str


class Transfer:
    """One easy handle and the request that it sends, from `load` to `reply`.

    `serial` differs from load to load, so that a timer of an earlier request is known as stale.
    """

    __slots__ = (  # a fifth faster than a dictionary, and each delivery sets them all
        "_body",
        "_deadline",
        "_key",
        "_limit",
        "_retry_after",
        "_sends",
        "_shared",
        "_started",
        "_status",
        "_unopened",
        "_whole",
        "handle",
        "serial",
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.serial = 0
        self.handle = pycurl.Curl()
        self._set_shared()

    def _set_shared(self) -> None:
        set_option = self.handle.setopt
        for option, value in _FIXED_OPTIONS:
            set_option(option, value)
        set_option(pycurl.CAINFO, self._shared.ca_file)
        set_option(pycurl.CONNECTTIMEOUT_MS, round(self._shared.connect_timeout * 1000))
        set_option(pycurl.OPENSOCKETFUNCTION, self._on_open)
        set_option(pycurl.SOCKOPTFUNCTION, self._on_opened)
        set_option(pycurl.PREREQFUNCTION, self._on_send)
        set_option(pycurl.HEADERFUNCTION, self._on_header)
        set_option(pycurl.WRITEFUNCTION, self._on_body)

    def load(
        self,
        request: OutboundRequest,
        packed: Packed,
        target: Target,
        addresses: Sequence[str],
        started: float,
        seconds: float,
    ) -> None:
        """Make the handle ready to send a request to one of these addresses within so many seconds.

        `started` is when the attempt began, in seconds of the monotonic clock.

        Raises:
            ValueError: a header of the request can't be sent.
        """
        self.serial += 1
        self._key, self._deadline, self._started = request.key, request.deadline, started
        self._status, self._whole, self._sends, self._limit = 0, False, 0, MAX_BODY
        self._unopened: AttemptError | None = None
        self._retry_after: str | None = None
        self._body = bytearray()
        set_option = self.handle.setopt
        set_option(pycurl.URL, target.url)
        set_option(pycurl.HTTPHEADER, _header_lines(packed.headers))
        set_option(pycurl.POSTFIELDS, packed.body)
        set_option(pycurl.RESOLVE, self._shared.hosts.entries(target.name, addresses, started))
        set_option(pycurl.TIMEOUT_MS, max(1, round(seconds * 1000)))

    def unload(self) -> None:
        """Let go of the request's bytes; the handle waits for the next request."""
        self.serial += 1
        self._body = bytearray()
        self.handle.setopt(pycurl.POSTFIELDS, b"")

    def reply(self, code: int, message: str, now: float) -> Reply:
        """The reply once the transfer has ended with libcurl's code (E_OK if well) and message."""
        code = attempt_errors.code_of_end(code, message, begun=self._status >= 200)
        attempt_error = self._classify(code, message)
        return Reply(
            key=self._key,
            status_code=self._status if self._answered(code) else None,
            error=attempt_error.error if attempt_error else None,
            detail=attempt_error.detail if attempt_error else None,
            body=bytes(self._body),
            duration=self._duration(now),
            retry_after=self._retry_after if self._whole else None,
        )

    def abandoned(self, error: ErrorClass, detail: str, now: float) -> Reply:
        """The reply of an attempt that is given up before it ended."""
        return Reply(self._key, None, error, detail, b"", self._duration(now))

    def _duration(self, now: float) -> Micros:
        return round((now - self._started) * US_PER_SECOND)

    def _classify(self, code: int, message: str) -> AttemptError | None:
        if self._answered(code):
            return attempt_errors.of_status(self._status)
        if self._unopened is not None:
            return self._unopened
        getinfo = self.handle.getinfo
        return attempt_errors.of_failure(
            code,
            message,
            verify_result=getinfo(pycurl.SSL_VERIFYRESULT),
            os_error=getinfo(pycurl.OS_ERRNO),
            connected=self._sends > 0,
            deadline=self._deadline,
            connect_timeout=self._shared.connect_timeout,
        )

    def _answered(self, code: int) -> bool:
        """Whether the status counts: its headers came whole, or nothing followed an interim 1xx."""
        return self._whole or (100 <= self._status <= 199 and code == pycurl.E_GOT_NOTHING)

    def _on_open(self, _purpose: int, address: Any) -> Any:
        host = address.addr[0]
        try:
            opened = self._shared.ssrf_filter.open_socket(
                address.family, address.socktype, address.protocol, host
            )
        except OSError as error:
            self._unopened = attempt_errors.of_os_error(error.errno)
            return pycurl.SOCKET_BAD
        if isinstance(opened, OpenSocket):
            return opened
        detail = f"the connection would go to {host}, which is {opened}; callbacks may not reach it"
        self._unopened = AttemptError(ErrorClass.BLOCKED_ADDRESS, detail)
        return pycurl.SOCKET_BAD

    def _on_opened(self, fd: int, _purpose: int) -> Any:
        """Pass on the number of libcurl's own duplicate of an opened socket."""
        self._shared.on_socket(fd)
        return pycurl.SOCKOPT_OK

    def _on_send(self, *_connection: object) -> Any:
        self._sends += 1
        return pycurl.PREREQFUNC_OK if self._sends <= MAX_SENDS else pycurl.PREREQFUNC_ABORT

    def _on_header(self, line: bytes) -> None:
        if self._whole:
            return  # a trailer
        if line.startswith(b"HTTP/"):
            found = _STATUS_LINE.match(line)
            self._status = int(found[1]) if found else 0
        elif line in {b"\r\n", b"\n"}:
            self._on_headers_end()
        elif line[:12].lower() == b"retry-after:":
            self._retry_after = line[12 : 12 + MAX_RETRY_AFTER].decode("latin-1").strip()

    def _on_headers_end(self) -> None:
        self._whole = not 100 <= self._status <= 199
        if not self._whole:
            self._retry_after = None
        elif 200 <= self._status <= 299:
            self._limit = MAX_BODY_OF_2XX
            self._shared.on_success_headers(self)

    def _on_body(self, data: bytes) -> int:
        capacity = self._limit - len(self._body)
        self._body += data[:capacity]
        return len(data) if len(data) <= capacity else 0


def _header_lines(headers: Sequence[tuple[str, str]]) -> list[bytes]:
    lines = "\n".join([f"{name}: {value}" if value else f"{name};" for name, value in headers])
    if "\r" in lines or "\0" in lines or lines.count("\n") >= len(headers):
        raise ValueError("a header of this webhook holds a line break or NUL and can't be sent")
    return [*lines.encode("latin-1").split(b"\n"), b"Expect:"]


def _refuse_to_resolve(*_state: object) -> int:
    """Fail libcurl's own look-ups: every host comes resolved and judged."""
    return 1


_FIXED_OPTIONS: tuple[tuple[int, object], ...] = (
    (pycurl.NOSIGNAL, 1),
    (pycurl.POST, 1),
    (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
    (pycurl.HTTP09_ALLOWED, 0),
    (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    (pycurl.FOLLOWLOCATION, 0),
    (pycurl.PATH_AS_IS, 1),
    (pycurl.PROXY, ""),
    (pycurl.NOPROXY, "*"),
    (pycurl.NETRC, pycurl.NETRC_IGNORED),
    (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
    (pycurl.SSL_VERIFYPEER, 1),
    (pycurl.SSL_VERIFYHOST, 2),
    (pycurl.RESOLVER_START_FUNCTION, _refuse_to_resolve),
    (pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_FOR_EVER),
    (pycurl.MAXLIFETIME_CONN, MAX_CONNECTION_SECONDS),
    (pycurl.UPLOAD_BUFFERSIZE, 16 * 1024),
)
