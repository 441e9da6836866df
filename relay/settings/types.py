"""The kinds of values that settings take: pydantic's types, and how a text becomes one of them.

A validator here only says that a text is wrong; the description of a setting says what is allowed.
"""

import base64
import ipaddress
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, HttpUrl, IPvAnyNetwork

from relay.db.dialects import DIALECTS


def _in_plain_digits(text: str) -> str:
    """Refuse signs, exponents and underscores, which in a setting are slips more often than not."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError
    return text


def _split_at_commas(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _true_or_false(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError
    return text.lower() == "true"


def _database_url(text: str) -> str:
    """Check for one of our databases by the scheme; SQLAlchemy takes the text itself."""
    parts = urlsplit(text)
    _ = parts.port  # is checked only when it is read
    dialect = DIALECTS.get(parts.scheme)
    if dialect is None or not text.startswith(f"{parts.scheme}://") or not dialect.is_complete(parts):
        raise ValueError
    return text


def _http_url(text: str) -> str:
    """Check by pydantic's type, but keep the text to the letter: VOD signs its URL."""
    HttpUrl(text)
    return text


def _master_key(text: str) -> bytes:
    """Decode base64 in the standard or the URL-safe alphabet, padded or not."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _authorities(path: Path) -> Path:
    """Refuse a file without a certificate, which would only show when no callback gets through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(OSError):  # which SSLError is too
        context.load_verify_locations(cafile=path)
    if not context.cert_store_stats()["x509"]:  # a revocation list alone is read without an error
        raise ValueError
    return path


def split_host_port(text: str) -> tuple[str, int] | None:
    """Split `host:port`, `[v6]:port` or `:port`, whose host is empty: every interface.

    None if it is none of them.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]*)):([0-9]{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65_535:
        return None
    return match[1] or match[2] or "", int(match[3])


def _host_port(text: str) -> str:
    if split_host_port(text) is None:
        raise ValueError
    return text


def _dns_server(text: str) -> str:
    host, port = split_host_port(text) or (text, 53)
    ipaddress.ip_address(_without_zone(host))
    if port == 0:
        raise ValueError
    return text


def _without_zone(text: str) -> str:
    """Refuse a zone: it belongs to one machine, not to an address."""
    if "%" in text:
        raise ValueError
    return text


BY_COMMAS = BeforeValidator(_split_at_commas)
IN_ANY_CASE = BeforeValidator(str.lower)

Number = Annotated[float, BeforeValidator(_in_plain_digits)]
WholeNumber = Annotated[int, BeforeValidator(_in_plain_digits)]
Flag = Annotated[bool, BeforeValidator(_true_or_false)]
HeaderText = Annotated[str, Field(pattern="^[!-~]+$")]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
Origin = Annotated[str, Field(pattern=r"^(?i:https?)://[^\s/?#@\\]+/?$"), AfterValidator(_http_url)]
LiteralUrl = Annotated[str, Field(pattern="^(?i:https?)://[!-~]{1,2000}$"), AfterValidator(_http_url)]
MasterKey = Annotated[bytes, BeforeValidator(_master_key), Field(min_length=32, max_length=32)]
Network = Annotated[IPvAnyNetwork, BeforeValidator(_without_zone)]
Schemes = Annotated[
    tuple[Annotated[Literal["http", "https"], IN_ANY_CASE], ...],
    BY_COMMAS,
    AfterValidator(lambda schemes: tuple(dict.fromkeys(schemes))),
]
Delay = Annotated[Number, Field(ge=0.001, le=2_592_000)]  # 30 days: a watch lives no longer
AuthoritiesFile = Annotated[FilePath, AfterValidator(_authorities)]
DnsServer = Annotated[str, AfterValidator(_dns_server)]
HostPort = Annotated[str, AfterValidator(_host_port)]
