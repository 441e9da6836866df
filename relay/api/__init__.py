"""The HTTP API. The only Flask of the relay, but for the sandbox.

`v1` has a module for each resource: its routes, the bodies and queries that it takes, the documents
that it answers. A request passes `auth` (its API key), `bodies` (bytes to strict JSON) or `queries`,
and `models` (JSON or query to a checked model). A change passes `idempotent` (one transaction, with
its Idempotency-Key). Every refusal leaves through `problems`. `provider_events` takes the provider's
notifications, `health` answers monitoring, `totals` writes what was counted, `worker` is gunicorn's.
"""

from relay.api.app import create_app
from relay.api.context import AppContext
from relay.api.health import fleet_numbers

__all__ = ["AppContext", "create_app", "fleet_numbers"]
