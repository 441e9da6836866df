"""Requests that change rows: change, answer and Idempotency-Key are committed in one transaction.

A POST with a key that came before is an idempotent request: it gets the stored response.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Response, request

from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.problems import Problem
from relay.api.responses import json_response
from relay.common.time import Micros
from relay.db import idempotency
from relay.db.engine import Tx
from relay.db.idempotency import IdempotentRequest, StoredResponse
from relay.subscribers.encryption import Encryption

_KEY = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a change.

    `secret`: the text holds a secret, and is sealed where it is stored. `after_commit` runs once
    the change is committed; a repeated request does not run it.
    """

    status: int
    text: str = field(repr=False)
    location: str = ""
    secret: bool = False
    after_commit: Callable[[], None] | None = None


Change = Callable[[Tx, Micros], Answer]


def run_idempotent(change: Change) -> Response:
    """Run a change in one transaction, or answer with its key's stored response."""
    now = ctx.clock.now()
    keyed = _keyed_request()
    if keyed is None:
        # Nothing guards a change without a key against a second run: the caller decides.
        answer = ctx.store.write_once(change, now)
    else:
        answer = ctx.store.write(_run_once, keyed, change, now, ctx.encryption)
    if answer.after_commit is not None:
        answer.after_commit()
    response = json_response(answer.text, answer.status)
    if answer.location:
        response.headers["Location"] = answer.location
    return response


def _keyed_request() -> IdempotentRequest | None:
    """The request's Idempotency-Key, bound to subscriber, method, path and body."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return None
    if not _KEY.fullmatch(key):
        raise Problem(
            400, "idempotency-key", "The Idempotency-Key must be 1 to 255 printable ASCII characters."
        )
    body = request.get_data()  # as `bodies` has read it, within its limit
    return idempotency.keyed(subscriber_id(), request.method, request.path, key, body)


def _run_once(
    tx: Tx, keyed: IdempotentRequest, change: Change, now: Micros, encryption: Encryption
) -> Answer:
    stored = idempotency.begin(tx, keyed, now)
    if stored is not None:
        text = encryption.decrypt(keyed.row, stored.text) if stored.sealed else stored.text
        location, _, body = text.partition("\n")
        return Answer(stored.status, body, location)
    answer = change(tx, now)
    # The first line holds the Location: JSON written compactly has no line break.
    text = f"{answer.location}\n{answer.text}"
    stored_text = encryption.encrypt(keyed.row, text) if answer.secret else text
    idempotency.finish(tx, keyed, StoredResponse(answer.status, stored_text, answer.secret))
    return answer
