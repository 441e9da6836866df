"""What libcurl is told of hosts: every transfer brings its host's addresses, and what is not used goes again.

libcurl looks up no name here: it is told every address (CURLOPT_RESOLVE) and keeps it in a cache of
its own. Entries that age would have it walk through that whole cache at each transfer's end
(measured: 19 ns for each host it knows). So ours do not age: that a host was told is noted here,
and what was noted long ago is taken out, once no attempt can be under way that told it and may open
its connection anew.
"""

from collections.abc import Sequence
from itertools import islice

NOTED_EVERY = 60.0  # seconds
TAKE_OUT = 900.0  # seconds: more than NOTED_EVERY, the longest attempt and a kept connection's life together
TAKEN_OUT_AT_ONCE = 2


class Hosts:
    """When each host was last noted as told, by `host:port` as CURLOPT_RESOLVE writes it; oldest first."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def telling(self, name: str, addresses: Sequence[str], now: float) -> list[str]:
        """Entries for a transfer's RESOLVE: its host's addresses, and to take out some told long ago."""
        told = f"{name}:{','.join([bracketed(one) for one in addresses])}"
        noted = self._told.get(name)
        if noted is not None and now < noted + NOTED_EVERY:
            return [told]
        self._told.pop(name, None)
        self._told[name] = now
        oldest = islice(self._told.items(), TAKEN_OUT_AT_ONCE)
        old = [one for one, at in oldest if at + TAKE_OUT < now]
        for one in old:
            del self._told[one]
        return [*(f"-{one}" for one in old), told]


def bracketed(host: str) -> str:
    """A host as a URL and CURLOPT_RESOLVE write it."""
    return f"[{host}]" if ":" in host else host
