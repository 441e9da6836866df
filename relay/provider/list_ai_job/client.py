"""The client of ListAIJob: signs a call, sends it within bounds, and reads the response."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from relay import __version__
from relay.common.errors import UnreadableAnswer
from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.bounded_call import fetch, what_failed
from relay.provider.list_ai_job.credentials import CredentialsProvider, NotGiven
from relay.provider.list_ai_job.rules.response_parser import IDS_PER_CALL, read_answer, read_refusal
from relay.provider.list_ai_job.rules.signing import Credentials, canonical_query, sign_v1, sign_v3
from relay.provider.list_ai_job.session import CancellableSession, Request, Response
from relay.provider.source import Answered, Outcome, RefusalKind, Refused, Unreachable, Unreadable

_ACTION, _VERSION = "ListAIJob", "2017-03-21"


class ListAIJob:
    """A client of one ListAIJob endpoint; threads may share it.

    `url` is the endpoint's scheme and host (a path in it is not used), `timeout` the seconds of a
    whole `ask`, `max_bytes` the longest body, decompressed. Tests script `clock` (the wall time)
    and `nonce` (an id for one signature). `on_clock_skew` is called with the seconds by which the
    provider's clock is ahead, when it finds our time wrong. Raises `ValueError` for a bad `url`.
    """

    def __init__(
        self,
        url: str,
        credentials: CredentialsProvider,
        *,
        signature: Literal["v3", "v1"] = "v3",
        timeout: float = 10.0,
        max_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], Micros] = lambda: time.time_ns() // 1_000,
        nonce: Callable[[], str] = lambda: uuid4().hex,
        on_clock_skew: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc.rpartition("@")[2]
        self._root = f"{parts.scheme}://{self._host}/"
        self._credentials = credentials
        self._signature = signature
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._clock = clock
        self._nonce = nonce
        self._on_clock_skew = on_clock_skew
        self._idle: list[CancellableSession] = []
        self.clock_offset: Micros = 0
        """How far the provider's clock was ahead of ours when it last found our time wrong."""

    def ask(self, job_ids: Sequence[str]) -> Outcome:
        """Ask about 1 to 10 ids; where the signature was stale, sign and ask once more."""
        if not 1 <= len(job_ids) <= IDS_PER_CALL:
            raise ValueError(f"One call asks about 1 to {IDS_PER_CALL} ids, not {len(job_ids)}.")
        deadline = time.monotonic() + self._timeout
        outcome = self._ask(job_ids, deadline)
        if isinstance(outcome, Refused) and outcome.kind is RefusalKind.SIGN_AGAIN:
            outcome = self._ask(job_ids, deadline)
        return outcome

    def why_not(self) -> str | None:
        """Why no call can be made now: a sentence without valid credentials, else None."""
        credentials = self._credentials()
        return credentials.reason if isinstance(credentials, NotGiven) else None

    def close(self) -> None:
        """Close the connections that wait for the next call."""
        while session := self._idle_session():
            session.cut()

    def _ask(self, job_ids: Sequence[str], deadline: float) -> Outcome:
        started = time.monotonic()
        credentials = self._credentials()
        if isinstance(credentials, NotGiven):
            return Unreachable(credentials.reason)
        try:
            response = self._send(self._signed(job_ids, credentials), deadline)
        except TimeoutError:
            return Unreachable(f"{self._host} gave no whole answer within {self._timeout:g} s.")
        except requests.RequestException as error:
            return Unreachable(f"{self._host} {what_failed(error)}.")
        outcome = self._read(response, job_ids, started)
        if isinstance(outcome, Refused):
            self._correct_clock(outcome, response.headers)
        return outcome

    def _signed(self, job_ids: Sequence[str], credentials: Credentials) -> Request:
        """One call, signed with a nonce of its own."""
        params = {"JobIds": ",".join(job_ids)}
        nonce, now = self._nonce(), self._clock() + self.clock_offset
        headers = {"Accept": "application/json", "User-Agent": f"relay/{__version__}"}
        if self._signature == "v3":
            headers |= sign_v3(
                method="GET",
                host=self._host,
                action=_ACTION,
                version=_VERSION,
                params=params,
                credentials=credentials,
                nonce=nonce,
                time=now,
            )
        else:
            params = sign_v1(
                method="GET",
                action=_ACTION,
                version=_VERSION,
                params=params,
                credentials=credentials,
                nonce=nonce,
                time=now,
            )
        return Request(f"{self._root}?{canonical_query(params)}", headers)

    def _send(self, request: Request, deadline: float) -> Response:
        """Do the call; raises `TimeoutError` at the deadline, or what `requests` raised."""
        session = self._idle_session() or CancellableSession()
        seconds = max(deadline - time.monotonic(), 0.001)
        response = fetch(
            session, request, seconds=seconds, max_bytes=self._max_bytes, thread_name="listaijob"
        )
        if response.body is None:
            session.cut()
        else:
            self._idle.append(session)
        return response

    def _idle_session(self) -> CancellableSession | None:
        try:
            return self._idle.pop()  # the latest: the peer may have closed older ones
        except IndexError:
            return None

    def _read(self, response: Response, job_ids: Sequence[str], started: float) -> Outcome:
        if response.body is None:
            return Unreadable(f"The answer is longer than {self._max_bytes} bytes.")
        if response.status != 200:
            return read_refusal(response.status, response.headers, response.body)
        try:
            answer = read_answer(response.headers.get("content-type"), response.body, job_ids)
        except UnreadableAnswer as error:
            # Codes count, statuses don't: an error document may come with a 200.
            refusal = read_refusal(response.status, response.headers, response.body)
            return refusal if refusal.code else Unreadable(str(error))
        return Answered(answer, round((time.monotonic() - started) * US_PER_SECOND))

    def _correct_clock(self, refusal: Refused, headers: dict[str, str]) -> None:
        """Learn from the `Date` of the answer that found our time wrong how far we are off."""
        if (refusal.code or "").lower().startswith("invalidtimestamp"):
            try:
                theirs = parsedate_to_datetime(headers.get("date", "")).replace(tzinfo=UTC)
            except ValueError:
                return
            self.clock_offset = round(theirs.timestamp()) * US_PER_SECOND - self._clock()
            self._on_clock_skew(self.clock_offset / US_PER_SECOND)
