"""Rival (b): a bare libcurl loop, without SQL: the rate of sending alone in one thread of Python.

The multi interface on epoll with reused handles; every POST carries 2 KB and a signature of its
own, and its answer is kept. No guard, no names, no deadline logic beyond libcurl's own. Run as a
program: `support_libcurl COUNT AT_ONCE` reads the URLs from stdin, sends, and prints JSON: seconds,
processor seconds, memory.
"""

import base64
import hashlib
import hmac
import json
import os
import select
import sys
import time
from collections.abc import Sequence

import pycurl

from bench.support_machine import memory_mib

KEY = b"k" * 32
BODY = ('{"type":"ai_job.success","data":"' + "x" * 2010 + '"}').encode()
DEADLINE = 15_000  # milliseconds


class Loop:
    """Sends `count` POSTs to the URLs in turn, so many at once."""

    def __init__(self, urls: Sequence[str], count: int, at_once: int) -> None:
        self._urls, self._left, self._sent = urls, count, 0
        self.failed = 0
        self._due: float | None = None
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, at_once)
        self._answers: dict[pycurl.Curl, bytearray] = {}
        for _ in range(min(at_once, count)):
            self._start(_handle())

    def run(self) -> None:
        """Send them all."""
        while self._answers:
            retry_timeout = -1.0 if self._due is None else max(self._due - time.monotonic(), 0.0)
            for fd, events in self._epoll.poll(retry_timeout):
                readable = pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0
                self._multi.socket_action(
                    fd, readable | (pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0)
                )
            if self._due is not None and time.monotonic() >= self._due:
                self._due = None
                self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._reap()

    def _start(self, handle: pycurl.Curl) -> None:
        delivery_id, timestamp = f"msg_{self._sent:032x}", int(time.time())
        signed = b"%s.%d.%s" % (delivery_id.encode(), timestamp, BODY)
        signature = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        self._answers[handle] = answer = bytearray()
        handle.setopt(pycurl.URL, self._urls[self._sent % len(self._urls)])
        handle.setopt(
            pycurl.HTTPHEADER,
            [
                "content-type: application/json",
                f"webhook-id: {delivery_id}",
                f"webhook-timestamp: {timestamp}",
                f"webhook-signature: v1,{signature}",
                "Expect:",
            ],
        )
        handle.setopt(pycurl.POSTFIELDS, BODY)
        handle.setopt(pycurl.WRITEFUNCTION, answer.extend)
        self._multi.add_handle(handle)
        self._sent += 1
        self._left -= 1

    def _reap(self) -> None:
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            self.failed += len(failed)
            for handle in [*succeeded, *(handle for handle, _, _ in failed)]:
                self.failed += handle in succeeded and handle.getinfo(pycurl.RESPONSE_CODE) != 200
                self._multi.remove_handle(handle)
                del self._answers[handle]
                if self._left:
                    self._start(handle)

    def _watch(self, what: int, fd: int, _multi: object, _tag: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(fd)
            self._epoll.unregister(fd)
            return
        events = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (
            select.EPOLLOUT if what & pycurl.POLL_OUT else 0
        )
        (self._epoll.modify if fd in self._watched else self._epoll.register)(fd, events)
        self._watched.add(fd)

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _handle() -> pycurl.Curl:
    handle = pycurl.Curl()
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.POST, 1)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.setopt(pycurl.PROXY, "")
    handle.setopt(pycurl.TIMEOUT_MS, DEADLINE)
    return handle


def main() -> None:
    count, at_once, urls = int(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()
    start, cpu = time.monotonic(), time.process_time()
    loop = Loop(urls, count, at_once)
    loop.run()
    if loop.failed:
        sys.exit(f"{loop.failed} of {count} POSTs failed")
    figures = {
        "seconds": time.monotonic() - start,
        "cpu": time.process_time() - cpu,
        "mib": memory_mib(os.getpid(), "VmHWM"),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
