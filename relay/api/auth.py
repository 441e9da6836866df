"""Who calls: a subscriber by its API key, or the operator by the admin token. Both come as a Bearer token."""

import hmac

from flask import g, request

from relay.api import context
from relay.api.problems import Problem
from relay.subscribers.sql import subscribers

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="relay"'}


def require_subscriber() -> None:
    """Find the subscriber by the key's hash; a key that is unknown, revoked or disabled is all the same."""
    if request.method == "OPTIONS":  # says only which methods a path takes
        return
    token = _bearer()
    # The same work for any token: one hash, one look into a unique index.
    found = context.current().store.read(subscribers.authenticate, subscribers.key_hash(token))
    if found is None:
        raise Problem(
            401,
            "unauthorized",
            "Send an API key that is valid, as in Authorization: Bearer rk_…"
            " (python -m relay subscriber add makes one).",
            CHALLENGE,
        )
    g.subscriber_id = found


def subscriber() -> str:
    """The id of the subscriber whose request this is."""
    return str(g.subscriber_id)


def require_admin() -> None:
    """Let the operator through, by RELAY_ADMIN_TOKEN."""
    expected = context.current().settings.admin_token
    if expected is None:
        raise Problem(
            404, "not-found", "This is off: it needs RELAY_ADMIN_TOKEN to be set for the web process."
        )
    if not hmac.compare_digest(_bearer().encode(), expected.get_secret_value().encode()):
        raise Problem(401, "unauthorized", "Send the admin token, as in Authorization: Bearer …", CHALLENGE)


def _bearer() -> str:
    """The token that was sent; an empty text, which is nobody's, if none was."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
