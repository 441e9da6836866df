"""What dispatchers sign with and send along: opened secrets and custom headers, cached for a minute."""

import contextlib
import json
import time
from collections.abc import Sequence

from relay.core.errors import SettingsError
from relay.core.signing import parse_secret
from relay.store import secrets
from relay.store.delivery_payloads import Claimed
from relay.store.engine import Store
from relay.store.secrets import Sealed
from relay.store.vault import Vault

KEEP = 60.0  # seconds an opened secret may be used before the database is asked again
MOST = 10_000  # endpoints at once; beyond it the cache starts anew


class Keyring:
    """Opened signing secrets by endpoint."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._secrets: dict[str, tuple[float, tuple[bytes, ...]]] = {}
        self._headers: dict[str, tuple[tuple[str, str], ...]] = {}

    def fetch(self, claimed: Sequence[Claimed], now: int) -> None:
        """Have the secrets of these deliveries' endpoints at hand; `now` is the database's time.

        One that does not open is left out: it costs only its own deliveries, when `secrets` is asked for it.
        """
        time_now = time.monotonic()
        wanted = {
            one.endpoint_id for one in claimed if self._secrets.get(one.endpoint_id, (0.0,))[0] < time_now
        }
        if not wanted:
            return
        if len(self._secrets) > MOST:
            self._secrets.clear()
            self._headers.clear()
        for endpoint_id, rows in self._store.read(secrets.signing, wanted, now).items():
            self._secrets.pop(endpoint_id, None)
            with contextlib.suppress(SettingsError, ValueError):
                self._secrets[endpoint_id] = (time_now + KEEP, self._opened(rows))

    def secrets(self, claimed: Claimed, now: int) -> tuple[bytes, ...]:
        """The keys that sign for a delivery's endpoint, newest first; `fetch` came before.

        Raises SettingsError when a secret does not open.
        """
        at_hand = self._secrets.get(claimed.endpoint_id)
        if at_hand is not None:
            return at_hand[1]
        endpoint_id = claimed.endpoint_id
        return self._opened(self._store.read(secrets.signing, [endpoint_id], now)[endpoint_id])

    def _opened(self, rows: Sequence[Sealed]) -> tuple[bytes, ...]:
        return tuple(parse_secret(self._vault.open(sealed.id, sealed.text)) for sealed in rows)

    def headers(self, endpoint_id: str, sealed: str | None) -> tuple[tuple[str, str], ...]:
        """The custom headers that go with every attempt."""
        if sealed is None:
            return ()
        if sealed not in self._headers:
            opened = json.loads(self._vault.open(endpoint_id, sealed))
            self._headers[sealed] = tuple((str(name), str(value)) for name, value in opened.items())
        return self._headers[sealed]
