"""Sending single parcels through a real courier, to receivers on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Protocol

from relay.core.addresses import Network
from relay.core.records import Parcel, Reply
from relay.net.courier import Courier
from tests.support_chaos import Chaos, Script

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = (("content-type", "application/json"), ("user-agent", "relay/test"), ("webhook-id", "msg_1"))


class MakeCourier(Protocol):
    """Starts a courier that is stopped when the test ends; loopback is allowed unless said otherwise."""

    def __call__(
        self,
        *,
        allow: tuple[Network, ...] = LOOPBACK,
        ca_file: Path | None = None,
        dns: tuple[str, ...] = (),
        connect_timeout: float = 5.0,
    ) -> Courier: ...


@contextmanager
def couriers() -> Iterator[MakeCourier]:
    """Makes couriers, and stops them in the end."""
    made: list[Courier] = []

    def make(
        *,
        allow: tuple[Network, ...] = LOOPBACK,
        ca_file: Path | None = None,
        dns: tuple[str, ...] = (),
        connect_timeout: float = 5.0,
    ) -> Courier:
        courier = Courier(
            allow=allow, ca_file=ca_file, dns_servers=dns, max_in_flight=2000, connect_timeout=connect_timeout
        )
        made.append(courier)
        courier.start()
        return courier

    yield make
    for courier in made:
        courier.stop(0)


def parcel(url: str, *, key: str = "msg_1", deadline: float = 10.0, body: bytes = b"{}") -> Parcel:
    return Parcel(key, url, HEADERS, body, deadline)


def send(courier: Courier, url: str, *, deadline: float = 10.0, body: bytes = b"{}") -> Reply:
    courier.submit(parcel(url, deadline=deadline, body=body))
    return courier.results.get(timeout=30)


def exchange(courier: Courier, script: Script, *, deadline: float = 10.0) -> Reply:
    """Send one parcel to a receiver that runs this script."""
    with Chaos(script) as receiver:
        return send(courier, f"http://127.0.0.1:{receiver.port}/hook", deadline=deadline)
