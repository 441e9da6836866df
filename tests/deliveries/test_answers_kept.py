"""What receivers answered, from the wire to GET /v1/deliveries/{id}, as readable text (H6)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.sandbox.receiver import Answer, Received, Receiver
from tests.support.api import Caller, context_for_tests, serving
from tests.support.dispatch import ENCRYPTION, Fleet, running_fleet
from tests.support.processes import wait_until

KEPT = 16 * 1024
NOISE = os.urandom(KEPT)
# Of a 2xx 1 KiB is kept, of another answer 16: an end in the middle of a letter is shown as bytes.
ANSWERS = {
    "nul": (500, b"\0a\0\0b\0", r"\x00a\x00\x00b\x00"),
    "nul of a 2xx": (200, b"\0fine\0", r"\x00fine\x00"),
    "nul alone": (503, b"\0" * KEPT, r"\x00" * KEPT),
    "every byte": (
        500,
        bytes(range(256)),
        r"\x00" + bytes(range(1, 128)).decode() + "".join(rf"\x{byte:02x}" for byte in range(128, 256)),
    ),
    "letters": (500, "büro 嗯 🎬 \u2028\ufeff".encode(), "büro 嗯 🎬 \u2028\ufeff"),
    "half a letter": (500, "嗯".encode() * 6000, "嗯" * 5461 + r"\xe5"),
    "half a letter of a 2xx": (200, "🎬".encode() * 300, "🎬" * 256),
    "surrogate": (500, b"\xed\xa0\x80 \xf4\x90\x80\x80", r"\xed\xa0\x80 \xf4\x90\x80\x80"),
    "noise": (500, NOISE, NOISE.decode("utf-8", "backslashreplace").replace("\0", r"\x00")),
    "nothing": (500, b"", None),
}


def answer(received: Received) -> Answer:
    status, body, _ = ANSWERS[received.path.removeprefix("/").replace("-", " ")]
    return Answer(status, body=body)


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path, _processes: None) -> Iterator[Fleet]:
    with running_fleet(own_database_url, tmp_path, RELAY_RETRY_SCHEDULE="600") as fleet:
        yield fleet


def test_H6_any_bytes_of_an_answer_are_stored_and_shown_as_text(fleet: Fleet) -> None:
    with Receiver(answer=answer) as receiver, serving(context_for_tests(fleet.store, ENCRYPTION)) as port:
        ids = fleet.enqueue([f"{receiver.url}/{name.replace(' ', '-')}" for name in ANSWERS])
        fleet.dispatcher()
        wait_until(lambda: fleet.errors().total() == len(ANSWERS), 20, "each has been sent once")
        caller = Caller(port, api_key=fleet.api_key)
        for (name, (status, _, text)), delivery_id in zip(ANSWERS.items(), ids, strict=True):
            got = caller.get(f"/v1/deliveries/{delivery_id}")
            (attempt,) = got.json["attempts"]
            assert (got.status, attempt["status_code"], attempt["response_body"]) == (200, status, text), name
