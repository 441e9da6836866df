"""The states a job, a watch, an endpoint, a delivery and an attempt can be in.

                  ┌──────────▶ success ─┐
job      open ────┤                     ├─ final; `missing` and `expired` belong to watches
                  └──────────▶ fail ────┘

watch    waiting ─▶ success | fail | missing | expired | cancelled

delivery pending ─▶ delivered | failed | cancelled     (a retry by hand makes it pending again)
         pending at a paused or disabled endpoint reads `held`: derived, never stored
"""

from enum import StrEnum


class JobStatus(StrEnum):
    """What the provider last said of a job, reduced to whether it has ended."""

    OPEN = "open"
    SUCCESS = "success"
    FAIL = "fail"


class WatchStatus(StrEnum):
    """A watch waits until its job ends or is missing, it expires, or it is cancelled."""

    WAITING = "waiting"
    SUCCESS = "success"
    FAIL = "fail"
    MISSING = "missing"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class EndpointStatus(StrEnum):
    """Only an active endpoint is sent to; deliveries to the others are held."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DeliveryStatus(StrEnum):
    """The stored states of a delivery, and HELD, which is derived from its endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"


class DisabledReason(StrEnum):
    """Why the relay gave an endpoint up: it said 410 Gone, or failed for days."""

    GONE = "gone"
    FAILING = "failing"


class ErrorClass(StrEnum):
    """Why an attempt was not answered with a 2xx: the short list that people and machines read."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    BLOCKED_ADDRESS = "blocked_address"
    REDIRECT = "redirect"
    PROTOCOL = "protocol"
    HTTP_1XX = "http_1xx"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"
    LOST = "lost"
    INTERNAL = "internal"
