"""The addresses that libcurl holds: each transfer brings its host's, and old ones are taken out.

libcurl looks up no name here: it gets every address through CURLOPT_RESOLVE and keeps it in a cache
of its own. Entries that age would have it walk through that whole cache at each transfer's end
(measured: 19 ns for each host it knows). So ours do not age. A host's entry is taken out once no
attempt can be under way that brought it and may open its connection anew.
"""

from collections.abc import Sequence
from itertools import islice

NOTED_EVERY = 60.0  # seconds
TAKE_OUT = 900.0  # seconds: more than NOTED_EVERY, the longest attempt and a kept connection's life together
TAKEN_OUT_AT_ONCE = 2


class Hosts:
    """When each host was last noted, by `host:port` as CURLOPT_RESOLVE writes it; oldest first."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}

    def entries(self, name: str, addresses: Sequence[str], now: float) -> list[str]:
        """A transfer's RESOLVE entries: its host's addresses, and removals of some old hosts."""
        entry = f"{name}:{','.join([bracketed(address) for address in addresses])}"
        noted = self._noted.get(name)
        if noted is not None and now < noted + NOTED_EVERY:
            return [entry]
        self._noted.pop(name, None)
        self._noted[name] = now
        oldest = islice(self._noted.items(), TAKEN_OUT_AT_ONCE)
        old = [host for host, noted in oldest if noted + TAKE_OUT < now]
        for host in old:
            del self._noted[host]
        return [*(f"-{host}" for host in old), entry]


def bracketed(host: str) -> str:
    """A host as a URL and CURLOPT_RESOLVE write it."""
    return f"[{host}]" if ":" in host else host
