"""Authentication by Bearer token: subscribers by an API key, the operator by the admin token."""

import hmac

from flask import g, request

from relay.api.context import ctx
from relay.api.problems import Problem
from relay.subscribers.sql import subscribers

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="relay"'}


def require_subscriber() -> None:
    """Find the subscriber by the key's hash; unknown, revoked and disabled keys look alike."""
    # The same work for any token: one hash, one search of a unique index.
    found = ctx.store.read(subscribers.authenticate, subscribers.key_hash(_bearer()))
    if found is None:
        raise Problem(
            401,
            "unauthorized",
            "Send an API key that is valid, as in Authorization: Bearer rk_…"
            " (python -m relay subscriber add makes one).",
            CHALLENGE,
        )
    g.subscriber_id = found


def subscriber_id() -> str:
    """The id of the subscriber whose request this is."""
    return str(g.subscriber_id)


def require_admin() -> None:
    """Let the operator through, by RELAY_ADMIN_TOKEN."""
    expected = ctx.settings.admin_token
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
