"""A receiver whose faults are chosen by path; it remembers its answers to each webhook-id."""

import asyncio
import random
import threading
from collections import Counter, defaultdict

BEHAVIOURS = ("ok", "slow", "flaky", "down", "hang", "gone", "reset", "drip", "late")


class Chaos:
    """Listens on a free port, on a thread of its own; `answers` counts (id, status), 0 for none."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.answers: dict[str, Counter[int]] = defaultdict(Counter)
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop listening; what is open is cut."""
        self._loop.call_soon_threadsafe(self._end_all)
        self._thread.join()

    def _end_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        await reader.readexactly(int(headers.get("content-length", "0")))
        behaviour = request.split("/")[1]
        status = await self._behave(behaviour, writer)
        self.answers[headers.get("webhook-id", "")][status] += 1
        if status:
            writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n\r\nok".encode())
            await writer.drain()
        return status != 0

    async def _behave(self, behaviour: str, writer: asyncio.StreamWriter) -> int:
        """Do what the path asks for; the status to answer, 0 to hang up without one."""
        if behaviour == "drip":
            return await _drip(writer)
        await asyncio.sleep(
            {"slow": 0.5, "late": self._rng.uniform(0, 1.4), "hang": 30.0}.get(behaviour, 0.0)
        )
        return self._rng.choice(STATUSES.get(behaviour, (200,)))


STATUSES = {
    "late": (204,),
    "flaky": (200, 200, 500, 503, 429),
    "down": (500,),
    "gone": (410,),
    "hang": (0,),
    "reset": (200, 0),
}


async def _drip(writer: asyncio.StreamWriter) -> int:
    """A 2xx whose headers come whole and whose body does not: delivered all the same."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n")
    for _ in range(4):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.2)
    return 0
