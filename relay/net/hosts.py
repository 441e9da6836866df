"""Which hosts' addresses libcurl holds, so that it is told of each once and not at every transfer.

libcurl looks up no name here: it is told every address (CURLOPT_RESOLVE) and keeps it in a cache of its own.
Entries that age would have it walk through that whole cache at each transfer's end (measured: 19 ns for each
host it knows). So ours do not age: what has changed is told anew, and what is not used any more is taken out.
"""

from collections.abc import Sequence
from itertools import islice

TELL_AGAIN = 60.0  # seconds; so that whatever put the two at odds lasts no longer than a name's answer may
TAKE_OUT = 180.0  # seconds after it was told: no transfer can be about to start that relies on it
TAKEN_OUT_AT_ONCE = 2


class Hosts:
    """What libcurl was told, by `host:port` as CURLOPT_RESOLVE writes it; oldest first.

    Nothing counts as told until a transfer that told it has been seen to go on.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[Sequence[str], float]] = {}

    def is_told(self, name: str, addresses: Sequence[str], now: float) -> bool:
        """Whether libcurl holds just these addresses of a host."""
        told = self._told.get(name)
        return told is not None and told[0] == addresses and now < told[1] + TELL_AGAIN

    def telling(self, name: str, addresses: Sequence[str], now: float) -> list[str]:
        """Tell of a host's addresses, and take leave of some that were told long ago: entries for RESOLVE."""
        old = [one for one, (_, at) in islice(self._told.items(), TAKEN_OUT_AT_ONCE) if at + TAKE_OUT < now]
        for one in old:
            del self._told[one]
        return [*(f"-{one}" for one in old), f"{name}:{','.join(bracketed(one) for one in addresses)}"]

    def told(self, name: str, addresses: Sequence[str], now: float) -> None:
        """A transfer that told it goes on: libcurl holds it."""
        self._told.pop(name, None)
        self._told[name] = (addresses, now)


def bracketed(host: str) -> str:
    """A host as a URL and CURLOPT_RESOLVE write it."""
    return f"[{host}]" if ":" in host else host
