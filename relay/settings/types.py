"""How each kind of setting is read from its text; no sentence quotes the text, which could be a secret.

Every reader takes a text that is not empty and returns the value, or raises `Wrong` with what is
wrong and what is allowed, worded to follow the variable's name.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DATABASES = frozenset({"sqlite", "postgresql", "postgres", "mysql", "mariadb"})
LONGEST_DELAY = 30 * 86_400.0  # seconds: a watch lives for 30 days at most; a later retry helps nobody


class Wrong(ValueError):
    """What is wrong with a value and what is allowed, to be put after the variable's name; quotes nothing."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master keys of 32 bytes: the first seals, all open. No repr shows them."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CallbackKeys:
    """What VOD signs its notifications with: one key, or two while they are exchanged. No repr shows them."""

    keys: tuple[str, ...] = field(default=(), repr=False)


def number(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Make a reader of plain decimal numbers: no sign, exponent, underscore, inf or nan."""
    allowed = f"must be {unit} from {least:g} to {most:.12g}, in plain digits"

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text) or not least <= float(text) <= most:
            raise Wrong(allowed)
        return float(text)

    return parse


def integer(least: int, most: int) -> Callable[[str], int]:
    """Make a reader of whole numbers."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise Wrong(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a reader of one word out of several, in any letter case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise Wrong(f"must be one of {', '.join(choices)}")
        return text.lower()

    return parse


def matching(pattern: str, allowed: str) -> Callable[[str], str]:
    """Make a reader of texts of one form; `allowed` says which, in words."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise Wrong(f"must be {allowed}")
        return text

    return parse


def flag(text: str) -> bool:
    """Read true or false, in any letter case."""
    return one_of("true", "false")(text) == "true"


def path(text: str) -> Path:
    """Read a path, whether there is a file or not."""
    if not text.isprintable():
        raise Wrong("must be a path without control characters")
    return Path(text)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _split_url(text: str) -> SplitResult:
    """Take a URL apart; the standard library's complaints quote the URL, so they are not passed on."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # judged only when it is read
    except ValueError:
        raise Wrong("can't be read as a URL; are special characters in it percent-encoded?") from None
    return parts


def database_url(text: str) -> str:
    """Check for one of our databases by the scheme; the text itself is what the store takes."""
    parts = _split_url(text)
    if not text.startswith(f"{parts.scheme}://") or parts.scheme not in DATABASES:
        raise Wrong("must start with sqlite:///, postgresql://, postgres://, mysql:// or mariadb://")
    if parts.scheme == "sqlite":
        if parts.netloc or parts.path in {"", "/", "/:memory:"}:
            raise Wrong("must name a file, as in sqlite:///relay.db (or sqlite:////var/lib/relay.db)")
    elif len(parts.path) < 2:
        raise Wrong(f"names no database; it reads {parts.scheme}://user:password@host:port/database")
    return text


def upstream_url(text: str) -> str:
    """Check for a bare http or https origin."""
    parts = _split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s\x00-\x1f]", text):
        raise Wrong("must be an http or https URL, as in https://vod.cn-shanghai.aliyuncs.com")
    if "@" in parts.netloc or parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise Wrong("must be a scheme, a host and perhaps a port: no user, path, query or fragment")
    return text


def master_keys(text: str) -> KeyRing:
    """Read base64 keys, in the standard or the URL-safe alphabet, padded or not."""
    ring = []
    for item in _items(text):
        plain = item.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise Wrong("must be base64, several keys separated by commas") from None
        if len(key) != 32:
            raise Wrong("must hold keys of exactly 32 bytes each, as `openssl rand -base64 32` makes them")
        ring.append(key)
    return KeyRing(tuple(ring))


def networks(text: str) -> tuple[Network, ...]:
    """Read CIDRs; an address alone is a network of one."""
    return tuple(_network(item) for item in _items(text))


def _network(item: str) -> Network:
    try:
        if "%" not in item:  # a zone belongs to one machine, not to an address
            return ipaddress.ip_network(item)
    except ValueError:
        pass
    raise Wrong("must be CIDRs separated by commas, host bits zero, as in 10.1.0.0/16,fd00::/8")


def schemes(text: str) -> tuple[str, ...]:
    """Read the schemes that a callback URL may have."""
    chosen = tuple(dict.fromkeys(item.lower() for item in _items(text)))
    if not chosen or not set(chosen) <= {"http", "https"}:
        raise Wrong("must be https, or http,https")
    return chosen


def retry_schedule(text: str) -> tuple[float, ...]:
    """Read the seconds before each retry."""
    step = number(0.001, LONGEST_DELAY, "seconds")
    items = _items(text)
    if not 1 <= len(items) <= 50:
        raise Wrong("must be 1 to 50 delays in seconds, separated by commas")
    try:
        return tuple(step(item) for item in items)
    except Wrong:
        raise Wrong(
            "must be delays above 0 and of at most 2592000 seconds (30 days), separated by commas"
        ) from None


def split_host_port(text: str) -> tuple[str, int] | None:
    """Split `host:port`, `[v6]:port` or `:port` (every interface: an empty host); None if it is neither."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]*)):([0-9]{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65_535:
        return None
    return match[1] or match[2] or "", int(match[3])


def metrics_addr(text: str) -> str:
    """Check for `host:port`; port 0 takes any free one."""
    if split_host_port(text) is None:
        raise Wrong("must be host:port, as in 127.0.0.1:9100, [::1]:9100 or :9100 (every interface)")
    return text


def dns_servers(text: str) -> tuple[str, ...]:
    """Check for addresses of name servers, each with or without a port."""
    servers = tuple(_items(text))
    if not all(_is_dns_server(server) for server in servers):
        raise Wrong("must be addresses separated by commas: 10.0.0.2, 10.0.0.2:5353, fd00::2 or [fd00::2]:53")
    return servers


def _is_dns_server(text: str) -> bool:
    host, port = split_host_port(text) or (text, 53)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host and port > 0


def vod_callback_url(text: str) -> str:
    """Check for a URL; the text itself is signed, so it is kept to the letter."""
    parts = _split_url(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not re.fullmatch(r"[!-~]{1,2048}", text)
    ):
        raise Wrong("must be the http or https URL that is configured at VOD, to the letter")
    return text


def callback_keys(text: str) -> CallbackKeys:
    """Read one or two keys."""
    keys = _items(text)
    if not 1 <= len(keys) <= 2 or not all(re.fullmatch("[!-~]{1,256}", key) for key in keys):
        raise Wrong("must be one or two keys as configured at VOD, separated by a comma")
    return CallbackKeys(tuple(keys))


def printable(text: str) -> str:
    """Check a credential for what an HTTP header can carry."""
    if not re.fullmatch(r"[!-~]+", text):
        raise Wrong("must be printable ASCII without spaces, as it goes into an HTTP header")
    return text
