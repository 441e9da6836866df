"""Decrypted signing secrets and custom headers, kept by dispatchers for a minute at most.

Each claim reads how often secrets were rotated. When that number has changed everything is
forgotten and read anew, so what is claimed after a rotation is signed as the rotation says.
"""

import contextlib
import json
from collections.abc import Sequence

from relay.common.errors import SettingsError
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery
from relay.subscribers.encryption import Encryption
from relay.subscribers.rules.secret_texts import parse_secret
from relay.subscribers.sql import secrets
from relay.subscribers.sql.secrets import StoredSecret

KEEP = 60 * US_PER_SECOND  # so that nothing of an endpoint that sends no more stays decrypted for long
MOST = 10_000  # endpoints at once; beyond it everything is forgotten

Headers = tuple[tuple[str, str], ...]


class Keyring:
    """Signing secrets and custom headers by endpoint, all of them as of one number of rotations."""

    def __init__(self, store: Store, encryption: Encryption) -> None:
        self._store = store
        self._encryption = encryption
        self._secrets: dict[str, tuple[bytes, ...]] = {}
        self._headers: dict[str, tuple[str, Headers]] = {}  # encrypted and decrypted
        self._rotations: int | None = None
        self._until: Micros = 0

    def fetch(self, claimed: Sequence[ClaimedDelivery], now: Micros) -> None:
        """Read the secrets of these deliveries' endpoints; `now` is the database's time.

        One that can't be decrypted is left out: it costs only its own deliveries, when `secrets` is
        called for it.
        """
        if not claimed:
            return
        rotations = claimed[-1].rotations  # of the row that was read last
        if rotations != self._rotations or now >= self._until or len(self._secrets) > MOST:
            self._secrets.clear()
            self._headers.clear()
            self._rotations, self._until = rotations, now + KEEP
        missing = {delivery.endpoint_id for delivery in claimed} - self._secrets.keys()
        if missing:
            self._read(missing, now)

    def _read(self, endpoint_ids: set[str], now: Micros) -> None:
        """Read and decrypt; when an overlap ends, everything is read anew."""
        for endpoint_id, rows in self._store.read(secrets.signing, endpoint_ids, now).items():
            self._until = min([self._until, *(row.expires_at for row in rows if row.expires_at is not None)])
            with contextlib.suppress(SettingsError, ValueError):
                self._secrets[endpoint_id] = self._decrypted(rows)

    def secrets(self, claimed: ClaimedDelivery, now: Micros) -> tuple[bytes, ...]:
        """The keys that sign for a delivery's endpoint, newest first; `fetch` came before.

        Raises SettingsError when a secret can't be decrypted.
        """
        kept = self._secrets.get(claimed.endpoint_id)
        if kept is not None:
            return kept
        endpoint_id = claimed.endpoint_id
        return self._decrypted(self._store.read(secrets.signing, [endpoint_id], now)[endpoint_id])

    def _decrypted(self, rows: Sequence[StoredSecret]) -> tuple[bytes, ...]:
        return tuple(parse_secret(self._encryption.decrypt(sealed.id, sealed.text)) for sealed in rows)

    def headers(self, endpoint_id: str, sealed: str | None) -> Headers:
        """The custom headers that go with every attempt."""
        if sealed is None:
            return ()
        kept = self._headers.get(endpoint_id)
        if kept is None or kept[0] != sealed:
            decrypted = json.loads(self._encryption.decrypt(endpoint_id, sealed))
            kept = sealed, tuple((str(name), str(value)) for name, value in decrypted.items())
            self._headers[endpoint_id] = kept
        return kept[1]
