"""Outbound requests, replies and options as bytes, between a dispatcher and its sender.

The sender reads strangers' answers, so its replies are plain values, and reading them can call
nothing. The sender trusts the dispatcher, which has the database and the keys.
"""

import io
import marshal
import pickle
from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any

from relay.common.states import ErrorClass
from relay.sending.rules.outbound import OutboundRequest, Reply, SenderOptions
from relay.sending.rules.webhook import Ended, Notice


def options_out(options: SenderOptions) -> bytes:
    """The first message to a sender."""
    return pickle.dumps(options)


def options_in(packed: bytes) -> SenderOptions:
    """Read the first message, in the sender."""
    options = pickle.loads(packed)  # noqa: S301 - from the end that has the database and the keys
    assert isinstance(options, SenderOptions)
    return options


def requests_out(outbound_requests: Iterable[OutboundRequest]) -> bytes:
    """The other messages to a sender; pickle takes several times as long for named tuples.

    Raises:
        ValueError: something of a request is no plain value.
    """
    return marshal.dumps([_flat(request) for request in outbound_requests])


def _flat(request: OutboundRequest) -> list[Any]:
    values: list[Any] = list(request)
    values[_MESSAGE] = list(request.message)
    return values


def requests_in(packed: bytes) -> list[OutboundRequest]:
    """Read outbound requests, in the sender."""
    return [_request(values) for values in marshal.loads(packed)]  # noqa: S302 - as above


def _request(values: list[Any]) -> OutboundRequest:
    message = values[_MESSAGE]
    values[_MESSAGE] = (Notice if len(message) == _NOTICE else Ended)._make(message)
    return OutboundRequest._make(values)


_MESSAGE = OutboundRequest._fields.index("message")
_NOTICE = len(Notice._fields)  # an Ended has more fields


def replies_out(replies: Sequence[Reply]) -> bytes:
    """A message of the sender."""
    return pickle.dumps([(*reply[:2], reply.error and reply.error.value, *reply[3:]) for reply in replies])


class _Plain(pickle.Unpickler):
    """Reads plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a message names {module}.{name}")


def replies_in(packed: bytes) -> list[Reply]:
    """Read a message of the sender.

    Raises:
        ValueError: it holds something else than replies.
    """
    try:
        return [_reply(*values) for values in _Plain(io.BytesIO(packed)).load()]
    except Exception as error:  # of a message that is no pickle at all it may be any
        raise ValueError("a message holds what is no reply") from error


_INT, _STR = (int, NoneType), (str, NoneType)  # `int | None` would be built anew for each reply


def _reply(
    key: object,
    status_code: object,
    error: object,
    detail: object,
    body: object,
    duration: object,
    retry_after: object,
) -> Reply:
    if not (isinstance(key, str) and isinstance(body, bytes) and isinstance(duration, int)):
        raise TypeError
    if not (isinstance(status_code, _INT) and isinstance(detail, _STR) and isinstance(retry_after, _STR)):
        raise TypeError
    error_class = None if error is None else ErrorClass(str(error))
    return Reply(key, status_code, error_class, detail, body, duration, retry_after)
