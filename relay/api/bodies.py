"""Bodies: from bytes to strict JSON (RFC 8259, and I-JSON where two readers could differ).

Refused with 400: bytes that are not UTF-8, members of one name, NaN, Infinity and numbers out of
range, lone surrogates, nesting beyond what any body needs. Refused with 413: a body longer than its
limit, whether or not its length was announced.
"""

import json
import math
import re
from typing import Any, NoReturn

from flask import request
from werkzeug.exceptions import ClientDisconnected

from relay.api.problems import Problem

LIMIT = 1 << 20  # bytes of a body
BATCH_LIMIT = 8 << 20  # bytes of a batch of watches
LONGEST_DISCARD = 2 * BATCH_LIMIT  # bytes of a refused body that are read; beyond them the connection breaks
DISCARD_CHUNK = 1 << 16
MOST_DIGITS = 400  # of a whole number; beyond 309 no reader with doubles follows
DEEPEST = 200  # levels; far more than any body has, far less than exhausts a stack


class NotJson(Problem):
    """A body that is no strict JSON; the sentence says why and quotes nothing."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "not-json", detail)


def read_bytes(limit: int = LIMIT) -> bytes:
    """Read the whole body, at most `limit` bytes."""
    announced = request.content_length or 0
    if announced > limit:
        raise _too_large(limit, announced)
    request.max_content_length = limit + 1  # Werkzeug silently cuts a longer chunked body there
    try:
        raw = request.get_data()
    except ClientDisconnected:
        raise
    except Exception as error:  # each server has its own errors for a body that is badly chunked
        raise NotJson("The body could not be read to its end.") from error
    if len(raw) > limit:
        raise _too_large(limit, LONGEST_DISCARD)
    return raw


def _too_large(limit: int, remaining: int) -> Problem:
    discard(remaining)
    return Problem(413, "too-large", f"The body is longer than {limit >> 20} MiB; send less at once.")


def discard(remaining: int) -> None:
    """Read the remaining bytes of a refused body; a client reads no answer while it is sending."""
    stream = request.environ["wsgi.input"]
    for _ in range(min(remaining, LONGEST_DISCARD) // DISCARD_CHUNK):
        if not stream.read(DISCARD_CHUNK):
            break


def read_json(limit: int = LIMIT, *, may_be_empty: bool = False) -> Any:
    """Read the body as JSON; an empty one, where that is allowed, counts as an empty object."""
    raw = read_bytes(limit)
    if not raw:
        if may_be_empty:
            return {}
        raise NotJson("The body is empty; send a JSON object.")
    _check_media_type()
    return parse(raw)


def _check_media_type() -> None:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
        raise Problem(415, "media-type", "Send JSON in UTF-8, with Content-Type: application/json.")


def parse(raw: bytes) -> Any:
    """Parse strict JSON; any bytes end in a value or in a Problem with status 400."""
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise NotJson("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise NotJson(
            f"The body is not JSON: stopped at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise NotJson(TOO_DEEP) from None
    _check_tree(value)
    return value


TOO_DEEP = f"The body is nested deeper than {DEEPEST} levels."
_SURROGATE = re.compile("[\ud800-\udfff]")


def _check_tree(root: Any) -> None:
    """Check depth and texts level by level, so that no depth can exhaust the stack."""
    level = [root]
    for _ in range(DEEPEST + 1):
        children: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                children += value.keys()
                children += value.values()
            elif isinstance(value, list):
                children += value
            elif isinstance(value, str) and _SURROGATE.search(value):
                raise NotJson("The body holds half a surrogate pair (\\ud800 to \\udfff), which is no text.")
        level = children
    if level:
        raise NotJson(TOO_DEEP)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NotJson("An object in the body has two members of one name.")
    return members


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise NotJson(f"The body holds a number of more than {MOST_DIGITS} digits.")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotJson("The body holds a number that is out of range.")
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise NotJson("The body holds NaN or Infinity, which are not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_names,
    parse_int=_whole_number,
    parse_float=_number,
    parse_constant=_refuse_constant,
)
