"""The rules of single members of a body that a type alone can't say. Each raises Wrong with a sentence."""

import json
import re
from typing import Any

from pydantic import ValidationInfo

from relay.api import queries
from relay.common.states import WATCHABLE_EVENTS
from relay.common.time import Micros
from relay.endpoints.rules.addresses import MAX_URL, CallbackUrl, check_url
from relay.settings import Settings

ALL_EVENTS = ",".join(WATCHABLE_EVENTS)

METADATA_BYTES = 4096  # as compact JSON in UTF-8
METADATA_DEPTH = 16  # the object itself is the first level
LONGEST_DESCRIPTION = 500
MOST_HEADERS = 20
HEADER_BYTES = 4096  # of all names and values

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[!-~\xa1-\xff](?:[ -~\xa0-\xff]*[!-~\xa1-\xff])?")  # printable latin-1
_OURS = re.compile(
    r"host|content-.*|transfer-encoding|connection|user-agent|accept-encoding|expect|te|trailer|upgrade"
    r"|keep-alive|proxy-.*|webhook-.*"
)


class Wrong(ValueError):
    """What is wrong with a member, as a sentence to be put after its pointer; quotes nothing."""


def callback_url(value: Any, info: ValidationInfo[Settings]) -> CallbackUrl:
    """Check a callback URL by the settings, which are the context."""
    settings = info.context
    if not isinstance(value, str):
        raise Wrong("must be a text")
    checked = check_url(value, settings.callback_schemes, settings.callback_allow)
    if isinstance(checked, str):
        raise Wrong(checked)
    if len(checked.full) > MAX_URL:  # an international host grows when it becomes ASCII
        raise Wrong(f"the URL is longer than {MAX_URL:,} characters")
    return checked


def endpoint_url(value: Any, info: ValidationInfo[Settings]) -> str:
    """Check an endpoint's URL, which has no query."""
    checked = callback_url(value, info)
    if checked.query is not None:
        raise Wrong("leave the query out: it belongs to each watch's callback_url")
    return checked.endpoint_url


def events(value: Any) -> str:
    """Check the wanted events and join them by commas in their usual order."""
    if not isinstance(value, list) or not value:
        raise Wrong("must be a list with at least one event in it")
    if not all(isinstance(one, str) and one in WATCHABLE_EVENTS for one in value):
        raise Wrong(f"must hold only {', '.join(WATCHABLE_EVENTS)}")
    return ",".join(event for event in WATCHABLE_EVENTS if event in value)


def metadata(value: Any) -> str:
    """Check metadata and write it as compact JSON, its members in the order given."""
    if not isinstance(value, dict):
        raise Wrong("must be a JSON object")
    if _is_deeper(value, METADATA_DEPTH):
        raise Wrong(f"must be at most {METADATA_DEPTH} levels deep")
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if len(text.encode()) > METADATA_BYTES:
        raise Wrong(f"must be at most {METADATA_BYTES:,} bytes as compact JSON")
    return text


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [child for parent in level for child in _containers(parent)]
    return bool(level)


def _containers(parent: Any) -> list[Any]:
    children = parent.values() if isinstance(parent, dict) else parent
    return [child for child in children if isinstance(child, dict | list)]


def description(value: Any) -> str:
    """Check an endpoint's description."""
    if not isinstance(value, str) or len(value) > LONGEST_DESCRIPTION or _CONTROL.search(value):
        raise Wrong(f"must be a text of at most {LONGEST_DESCRIPTION} characters on one line")
    return value


def time(value: Any) -> Micros:
    """Check a time, as in the query of a list."""
    if not isinstance(value, str):
        raise Wrong("must be a text with an RFC 3339 time")
    return queries.time(value)


def headers(value: Any) -> dict[str, str]:
    """Check custom headers; the sentences name no header, as names too are the caller's."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise Wrong("must be an object of header names and values, all of them texts")
    names = [name.lower() for name in value]
    if len(names) > MOST_HEADERS or len(set(names)) < len(names):
        raise Wrong(f"must hold at most {MOST_HEADERS} headers, each name once")
    if not all(map(_TOKEN.fullmatch, value)):
        raise Wrong("must have names of letters, digits and !#$%&'*+-.^_`|~ only")
    if any(map(_OURS.fullmatch, names)):
        raise Wrong(
            "must leave out what the relay sets itself: Host, Content-*, Transfer-Encoding, Connection,"
            " User-Agent, Accept-Encoding, Expect, TE, Trailer, Upgrade, Keep-Alive, Proxy-* and Webhook-*"
        )
    if not all(map(_VALUE.fullmatch, value.values())):
        raise Wrong("must have values of printable latin-1 characters, without spaces around them")
    if sum(len(name) + len(text) for name, text in value.items()) > HEADER_BYTES:
        raise Wrong(f"must be at most {HEADER_BYTES:,} bytes in all")
    return value
