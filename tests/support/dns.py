"""A name server on loopback that answers from a script and keeps the names it was asked for."""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from ipaddress import ip_address
from types import TracebackType
from typing import Self

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


class Says(Enum):
    """What the server says of a name for which it has no list of addresses."""

    NOTHING = auto()
    SERVFAIL = auto()


Script = Mapping[str, Sequence[str] | Says]


class NameServer:
    """Answers from `script`, which may change at any time; other names do not exist."""

    def __init__(self, script: Script, *, ttl: int = 60) -> None:
        self.script: dict[str, Sequence[str] | Says] = dict(script)
        self.ttl = ttl
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as goodbye:
            goodbye.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(4096)
            if not question:
                return
            answer = self._answer(question)
            if answer is not None:
                self._socket.sendto(answer, sender)

    def _answer(self, question: bytes) -> bytes | None:
        name, end = _read_name(question)
        (kind,) = struct.unpack_from("!H", question, end)
        self.asked.append(name)
        said = self.script.get(name)
        if said is Says.NOTHING:
            return None
        if said is Says.SERVFAIL:
            return _message(question, end, SERVFAIL, [])
        if said is None or isinstance(said, Says):
            return _message(question, end, NXDOMAIN, [])
        addresses = [ip_address(text) for text in said]
        version = 4 if kind == A else 6
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(address.packed)) + address.packed
            for address in addresses
            if kind in {A, AAAA} and address.version == version
        ]
        return _message(question, end, NOERROR, records)


def _read_name(question: bytes) -> tuple[str, int]:
    labels, start = [], 12
    while question[start]:
        labels.append(question[start + 1 : start + 1 + question[start]].decode().lower())
        start += question[start] + 1
    return ".".join(labels), start + 1


def _message(question: bytes, name_end: int, code: int, records: list[bytes]) -> bytes:
    header = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
    return header + question[12 : name_end + 4] + b"".join(records)
