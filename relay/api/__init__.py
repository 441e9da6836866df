"""The HTTP API: takes and shows watches, endpoints and deliveries. The only Flask of the relay.

`app` builds it; `api`, `api_endpoints` and `api_deliveries` hold the routes of `/v1`, `v1` what
they share. On its way in a request passes `auth` (who), `bodies` (bytes to strict JSON), `messages`
or `queries` (JSON or query to values); a change passes `effects` (one transaction, with its
Idempotency-Key). Whatever is refused leaves through `problems`. `health` is for machines that
watch, `totals` writes what was counted.
"""

from relay.api.app import create_app
from relay.api.context import AppContext
from relay.api.health import fleet_numbers

__all__ = ["AppContext", "create_app", "fleet_numbers"]
