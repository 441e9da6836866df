"""A request that changes something: one transaction for its effect, its answer and its Idempotency-Key."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Response, request

from relay.api import context
from relay.api.auth import subscriber
from relay.api.problems import Problem
from relay.common.time import Micros
from relay.db import idempotency
from relay.db.engine import Tx
from relay.db.idempotency import IdempotentRequest, StoredResponse
from relay.subscribers.encryption import Encryption

_KEY = re.compile(r"[ -~]{1,255}")


def _nothing() -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a change is answered with; `tell` is called once it is committed, and not when it is repeated.

    `secret`: the text holds a secret, and is sealed where it is kept.
    """

    status: int
    text: str = field(repr=False)
    location: str = ""
    secret: bool = False
    tell: Callable[[], None] = _nothing


Effect = Callable[[Tx, Micros], Answer]


def write_json(value: Any) -> str:
    """Write compact JSON with its letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_response(text: str, status: int = 200) -> Response:
    """A response of this JSON text."""
    return Response(text, status, content_type="application/json; charset=utf-8")


def run_idempotent(effect: Effect) -> Response:
    """Run an effect in one transaction; a POST with a key that came before gets the answer it got then."""
    here = context.current()
    now = here.clock.now()
    post = _keyed()
    if post is None:
        # Without a key nothing tells a second run from the first: the caller says whether to try
        # again.
        answer = here.store.write_once(effect, now)
    else:
        answer = here.store.write(_once, post, effect, now, here.encryption)
    answer.tell()
    response = json_response(answer.text, answer.status)
    if answer.location:
        response.headers["Location"] = answer.location
    return response


def _keyed() -> IdempotentRequest | None:
    """The request's Idempotency-Key, bound to subscriber, method, path and body."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return None
    if not _KEY.fullmatch(key):
        raise Problem(
            400, "idempotency-key", "The Idempotency-Key must be 1 to 255 printable ASCII characters."
        )
    body = request.get_data()  # as `bodies` has read it, within its limit
    return idempotency.keyed(subscriber(), request.method, request.path, key, body)


def _once(tx: Tx, post: IdempotentRequest, effect: Effect, now: Micros, encryption: Encryption) -> Answer:
    kept = idempotency.begin(tx, post, now)
    if kept is not None:
        return _opened(post, kept, encryption)
    answer = effect(tx, now)
    # The Location is kept in the first line, which JSON written compactly never is.
    text = f"{answer.location}\n{answer.text}"
    stored_text = encryption.seal(post.row, text) if answer.secret else text
    idempotency.finish(tx, post, StoredResponse(answer.status, stored_text, answer.secret))
    return answer


def _opened(post: IdempotentRequest, kept: StoredResponse, encryption: Encryption) -> Answer:
    text = encryption.open(post.row, kept.text) if kept.sealed else kept.text
    location, _, body = text.partition("\n")
    return replace(Answer(kept.status, body), location=location)
