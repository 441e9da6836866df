"""The HTTP API: takes and shows watches, endpoints and deliveries. The only Flask of the relay.

`app` builds it, `api` holds the routes. On its way in a request passes `auth` (who), `bodies` (bytes to
strict JSON), `messages` or `queries` (JSON or query to values); a change passes `effects` (one transaction,
with its Idempotency-Key). Whatever is refused leaves through `problems`. `health` is for machines that watch.
"""

from relay.web.app import create_app
from relay.web.parts import Parts

__all__ = ["Parts", "create_app"]
