"""How a signing secret is written: `whsec_` and base64, as Standard Webhooks 1.0 has it."""

import base64

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret(random: bytes) -> str:
    """Write 32 random bytes as a secret.

    Raises:
        ValueError: there are not 32 of them.
    """
    if len(random) != SECRET_BYTES:
        raise ValueError(f"a signing secret is made of {SECRET_BYTES} random bytes, not {len(random)}")
    return PREFIX + base64.b64encode(random).decode()


def parse_secret(secret: str) -> bytes:
    """Read the key bytes out of a `whsec_…` secret; 24 to 64 of them, as the standard allows.

    Raises:
        ValueError: it is no such secret; the sentence never quotes it.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"the secret does not start with {PREFIX}; copy it whole")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"the secret is not base64 after {PREFIX}; copy it whole, without spaces") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"the secret holds {len(key)} bytes, not 24 to 64; copy it whole")
    return key
