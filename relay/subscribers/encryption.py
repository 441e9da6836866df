"""Secrets at rest: AES-GCM under a ring of master keys, bound to the row that holds them.

An encrypted text reads `keyid:base64(nonce + ciphertext)`. The key's id names the key that decrypts
it; the row's id is the associated data, so that no other row's id decrypts it.
"""

import base64
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.common.errors import SettingsError

NONCE_BYTES = 12
KEY_BYTES = 32


class Encryption:
    """Encrypts with the ring's first key, decrypts with any; `first` and `others` are key ids."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self.first = key_id(keys[0])
        self.others = [name for name in self._ciphers if name != self.first]

    def encrypt(self, row_id: str, secret: str) -> str:
        """Encrypt a text for the row with this id."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.first].encrypt(nonce, secret.encode(), row_id.encode())
        return f"{self.first}:{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, row_id: str, sealed: str) -> str:
        """Decrypt a text of `encrypt`; raises SettingsError when no key of the ring fits."""
        name, _, payload = sealed.partition(":")
        if not re.fullmatch("[0-9a-f]{8}", name):
            raise _not_decrypted(row_id)
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise SettingsError(
                [f"RELAY_MASTER_KEY: a stored secret needs the key with id {name}; add it to the ring"]
            )
        try:
            raw = base64.b64decode(payload)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], row_id.encode()).decode()
        except (InvalidTag, ValueError):
            raise _not_decrypted(row_id) from None


def _not_decrypted(row_id: str) -> SettingsError:
    return SettingsError(
        [f"RELAY_MASTER_KEY: the secret of {row_id} can't be decrypted; it was altered or moved"]
    )


def key_id(key: bytes) -> str:
    """Eight hex digits that name a key and reveal nothing of it."""
    return hashlib.sha256(b"relay key id" + key).hexdigest()[:8]


def key_beside(database: Path) -> tuple[bytes, Path | None]:
    """The master key kept beside a SQLite database, made with mode 0600 if there is none.

    Returns the key and, if it was made just now, its path.
    """
    path = key_file(database)
    if path.exists():
        return _read_key(path), None
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # whole or not at all, and never over another process's key
    except FileExistsError:
        return _read_key(path), None
    finally:
        Path(draft).unlink()
    return _read_key(path), path


def kept_key(database: Path) -> bytes | None:
    """The master key that lies beside a SQLite database; None if there is none."""
    path = key_file(database)
    return _read_key(path) if path.exists() else None


def key_file(database: Path) -> Path:
    """Where a SQLite database's own master key lies."""
    return database.with_name(database.name + ".key")


def _read_key(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, ValueError) as error:
        raise SettingsError([f"{path}: can't be read as a master key ({type(error).__name__})"]) from None
    if len(key) != KEY_BYTES:
        raise SettingsError([f"{path}: is not a base64 text of {KEY_BYTES} bytes; restore it from a backup"])
    return key
