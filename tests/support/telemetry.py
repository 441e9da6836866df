"""What was logged in this process."""

import json
from typing import Any

import pytest

from relay.telemetry.log_format import Line, Lines


def logged(caplog: pytest.LogCaptureFixture) -> list[Line]:
    """The lines of our own events, in order."""
    messages: list[object] = [record.msg for record in caplog.records]
    return [line for lines in messages if isinstance(lines, Lines) for line in lines]


class Stderr:
    """What was written to stderr since it was last asked."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def getvalue(self) -> str:
        return self._capture.readouterr().err

    def lines(self) -> list[dict[str, Any]]:
        """The same, as JSON."""
        return [json.loads(line) for line in self.getvalue().splitlines()]
