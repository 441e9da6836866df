"""The HTTP API. The only Flask of the relay, but for the sandbox.

`v1` has a module for each resource: the bodies and queries that it takes, its routes, its answers.
A request passes `auth` (its API key), then `bodies` (bytes to strict JSON) or `queries`, and
`models` (JSON or a query to a checked model). A change passes `idempotent` (one transaction, with
its Idempotency-Key). Every refusal leaves through `problems`. `provider_events` takes the
provider's notifications, `health` answers monitoring, `totals` writes what was counted, `worker` is
gunicorn's.
"""

from relay.api.app import create_app
from relay.api.context import AppContext

__all__ = ["AppContext", "create_app"]
