"""What resources share: members with their rules, and routes that need an API key and right ids."""

import re
from datetime import datetime
from typing import Annotated, Any

from flask import Blueprint, request
from pydantic import Field, PlainValidator, ValidationInfo

from relay.api.auth import require_subscriber
from relay.api.models import WrongMember
from relay.common.errors import NotFound
from relay.common.time import US_PER_SECOND, Micros
from relay.endpoints.rules.addresses import MAX_URL, CallbackUrl, check_url
from relay.provider.registry import SOURCES
from relay.settings import Settings

PATH_IDS = {"watch_id": "wat", "endpoint_id": "ep", "delivery_id": "msg"}
JOB_ID = "[A-Za-z0-9_-]{1,64}"

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{8}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def id_pattern(prefix: str) -> str:
    """The pattern of an id; only texts that match it may be compared with ids in SQL."""
    return rf"{prefix}_[0-9a-f]{{32}}"


def check_callback_url(value: Any, info: ValidationInfo[Settings]) -> CallbackUrl:
    """Check a callback URL by the settings, which are the validation's context."""
    settings = info.context
    if not isinstance(value, str):
        raise WrongMember("must be a text")
    checked = check_url(value, settings.callback_schemes, settings.callback_allow)
    if isinstance(checked, str):
        raise WrongMember(checked)
    if len(checked.full) > MAX_URL:  # an international host grows when it becomes ASCII
        raise WrongMember(f"the URL is longer than {MAX_URL:,} characters")
    return checked


def _check_time(value: Any) -> Micros:
    """Take an RFC 3339 time with its zone, in microseconds."""
    if not isinstance(value, str):
        raise WrongMember("must be a text with an RFC 3339 time")
    wrong = WrongMember("must be an RFC 3339 time with its zone, as in 2026-01-02T03:04:05Z")
    if not _TIME.fullmatch(value):
        raise wrong
    try:
        seconds = datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):
        raise wrong from None
    return max(round(seconds * US_PER_SECOND), 0)


def _check_source(value: Any) -> str:
    if not isinstance(value, str) or value not in SOURCES:
        raise WrongMember(f"must be one of {', '.join(SOURCES)}")
    return value


JobId = Annotated[str, Field(pattern=rf"\A{JOB_ID}\z", description="1 to 64 letters, digits, _ or -")]
Source = Annotated[str, PlainValidator(_check_source), Field(description="a source of jobs")]
Url = Annotated[
    CallbackUrl,
    PlainValidator(check_callback_url),
    Field(description="an absolute URL of at most 2,048 characters"),
]
OwnEndpointId = Annotated[
    str, Field(pattern=rf"\A{id_pattern('ep')}\z", description="the id of one of your endpoints")
]
EndpointId = Annotated[
    str, Field(pattern=rf"\A{id_pattern('ep')}\z", description="an id that begins with ep_")
]
WatchId = Annotated[
    str, Field(pattern=rf"\A{id_pattern('wat')}\z", description="an id that begins with wat_")
]
Time = Annotated[Micros, PlainValidator(_check_time), Field(description="an RFC 3339 time with its zone")]


def resource(name: str) -> Blueprint:
    """The routes of a resource under `/v1`."""
    routes = Blueprint(name, __name__, url_prefix="/v1")
    routes.before_request(_check_request)
    return routes


def _check_request() -> None:
    """Refuse a request without a valid key, and an id that is none, before anything is read."""
    if request.method == "OPTIONS":  # says only which methods a path takes
        return
    require_subscriber()
    for name, text in (request.view_args or {}).items():
        if name in PATH_IDS and not re.fullmatch(id_pattern(PATH_IDS[name]), text):
            raise NotFound("there is nothing with this id")
