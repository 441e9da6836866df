import logging
from collections.abc import Iterator

import pytest

from tests.support.telemetry import Stderr


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Stderr]:
    """Collect stderr; logging is put back afterwards."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield Stderr(capsys)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
