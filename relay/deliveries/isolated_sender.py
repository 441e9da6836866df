"""Sends poison messages, one at a time, by a sender of their own.

A poison message is a delivery with which processes died. Here it can take no other down with it,
and one that hangs keeps nobody waiting. If its sender dies, the attempt stays unrecorded: its lease
runs out, and it is found lost.
"""

import time
from collections.abc import Callable

from relay import telemetry
from relay.common.errors import SenderDied
from relay.deliveries.in_flight import InFlightRegistry
from relay.sending.rules.outbound import OutboundRequest
from relay.sending.sender_client import SenderClient
from relay.telemetry.events import PoisonMessageLost

SILENCE = 5.0  # seconds beyond an attempt's deadline after which its sender is given up
KEPT = 30.0  # seconds for which a sender waits for the next poison message


class IsolatedSender:
    """For the thread that claims, which calls `run_once` often.

    It waits only where a sender starts slowly and its message is large, or one is stuck and must be
    ended.
    """

    def __init__(self, make_sender_client: Callable[[], SenderClient], registry: InFlightRegistry) -> None:
        self._make_sender_client = make_sender_client
        self._registry = registry
        self._sender_client: SenderClient | None = None
        self._key: str | None = None  # of the attempt in flight
        self._until = 0.0  # when that one is overdue, or the sender not needed any more

    @property
    def is_free(self) -> bool:
        """Whether a poison message can be sent now."""
        return self._key is None

    def send(self, request: OutboundRequest) -> None:
        """Send a poison message, which is registered as in flight."""
        try:
            self._started().submit(request)
        except SenderDied as death:
            self._discard(request.key, str(death))
        else:
            self._key, self._until = request.key, time.monotonic() + request.deadline + SILENCE

    def run_once(self) -> None:
        """Hand in the reply that has come, or give up a sender that brings none."""
        if self._sender_client is None:
            return
        is_over = time.monotonic() > self._until
        if self._key is None:
            if is_over:
                self.stop()
            return
        try:
            replies = self._sender_client.replies(0.0)
        except SenderDied as death:
            self._discard(self._key, str(death))
            return
        if replies:
            self._registry.hand_in(replies[0])
            self._key, self._until = None, time.monotonic() + KEPT
        elif is_over:
            self._discard(self._key, "the process that sends webhooks does not end this one")

    def stop(self) -> None:
        """End the sender, and with it what is in flight."""
        if self._sender_client is not None:
            self._sender_client.stop()
            self._sender_client = None

    def _started(self) -> SenderClient:
        if self._sender_client is None:
            self._sender_client = self._make_sender_client()
            self._sender_client.start()
        return self._sender_client

    def _discard(self, key: str, why: str) -> None:
        self.stop()
        self._key = None
        self._registry.discard(key)
        telemetry.emit(PoisonMessageLost(key.partition("/")[0], why))
