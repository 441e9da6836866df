"""Reading settings that are wrong."""

import base64

import pytest

from relay.common.errors import SettingsError
from relay.settings import load

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()


def problems(environ: dict[str, str]) -> list[str]:
    """The sentences about an environment that can't be used."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.problems
