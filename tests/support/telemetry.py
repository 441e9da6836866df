"""What was logged in this process."""

import pytest

from relay.telemetry.log_format import Line, Lines


def logged(caplog: pytest.LogCaptureFixture) -> list[Line]:
    """The lines of our own events, in order."""
    messages: list[object] = [record.msg for record in caplog.records]
    return [line for lines in messages if isinstance(lines, Lines) for line in lines]
