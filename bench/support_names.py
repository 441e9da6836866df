"""The tests' scripted name server in a process of its own, so that it takes no time from the load.

Run as a program it reads from stdin one JSON object, name → addresses or null for one that is never
answered, prints its address, and serves until its stdin ends.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.dns import NameServer, Says


@dataclass
class Names:
    """The name server as its user sees it; `script` has None for a name that is never answered."""

    script: Mapping[str, Sequence[str] | None]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.support_names"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(self.script)}\n")
        self.process.stdin.flush()
        self.address = self.process.stdout.readline().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def main() -> None:
    script = json.loads(sys.stdin.readline())
    says = {name: Says.NOTHING if addresses is None else addresses for name, addresses in script.items()}
    with NameServer(says) as server:
        print(server.address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
