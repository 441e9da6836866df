"""The SSRF filter: judges every address before a callback may connect to it.

One rule (`relay.endpoints.rules.addresses.judge`) judges every answer of DNS, and again every
socket. The filter holds the networks that are allowed and remembers results, so that asking again
costs a look-up.
"""

import socket
from collections.abc import Sequence
from functools import lru_cache, partial

from relay.endpoints.rules.addresses import Network, judge

REMEMBERED = 8192  # addresses; a result depends on nothing but the address, so it never goes stale


class OpenSocket:
    """A socket for libcurl, which duplicates its descriptor and drops this: then it closes."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self._socket = socket.socket(family, kind, protocol)
        self.fileno = self._socket.fileno

    def __del__(self) -> None:
        self._socket.close()


class SsrfFilter:
    """Judges addresses; networks in `allow` may be reached although they are not public."""

    def __init__(self, allow: Sequence[Network]) -> None:
        # Says why an address may not be reached, or None if it may (`addresses.judge`).
        self.judge = lru_cache(maxsize=REMEMBERED)(partial(judge, allow=tuple(allow)))

    def open_socket(self, family: int, kind: int, protocol: int, address: str) -> OpenSocket | str:
        """Open a socket that may connect to this address, or say why none may."""
        return self.judge(address) or OpenSocket(family, kind, protocol)
