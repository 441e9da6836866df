"""The guard at the way out: judges addresses before callbacks may connect to them.

One rule (`relay.endpoints.rules.addresses.judge`) is asked for every answer of DNS and again for
every socket. The guard holds the networks that are allowed, and remembers verdicts, so that asking
costs a look-up.
"""

import socket
from collections.abc import Sequence
from functools import lru_cache

from relay.endpoints.rules.addresses import Network, judge

REMEMBERED = 8192  # verdicts; they depend on nothing but the address, so they never go stale


class OpenSocket:
    """A socket for libcurl, which duplicates its descriptor and drops this: then the original closes."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self._socket = socket.socket(family, kind, protocol)
        self.fileno = self._socket.fileno

    def __del__(self) -> None:
        self._socket.close()


class SsrfFilter:
    """Judges addresses; `allow` lists the networks that may be reached although they are not public."""

    def __init__(self, allow: Sequence[Network]) -> None:
        networks = tuple(allow)

        @lru_cache(maxsize=REMEMBERED)
        def remembered(address: str) -> str | None:
            return judge(address, networks)

        self._judge = remembered

    def judge(self, address: str) -> str | None:
        """Say why this address may not be reached, or None if it may (`addresses.judge`)."""
        return self._judge(address)

    def open_socket(self, family: int, kind: int, protocol: int, address: str) -> OpenSocket | str:
        """Open a socket that may connect to this address, or say why none may."""
        return self._judge(address) or OpenSocket(family, kind, protocol)
