"""The addresses that callbacks may reach, and the spellings that a callback URL may have.

`judge` is the one rule for addresses: it judges literals when a URL is saved, every answer of DNS,
and every socket before it connects. The tables are explicit because the
answers of `ipaddress.is_global` changed between patch releases, and because it passes multicast,
NAT64 and 6to4.

`check_url` refuses every spelling that two parsers could read as two different hosts; saving never
resolves.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import idna

Network = IPv4Network | IPv6Network

MAX_URL = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

# Everything of IPv4 that is not plainly public unicast (IANA's special-purpose registry, RFC 6890).
REFUSED_V4 = tuple(
    (IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/8", "this network's own"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation only"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks only"),
        ("198.51.100.0/24", "for documentation only"),
        ("203.0.113.0/24", "for documentation only"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("168.63.129.16/32", "a cloud's internal service"),  # Azure's wire server: public by registry only
    )
)

PUBLIC_V6 = IPv6Network("2000::/3")  # the only block that IANA gives out as global unicast
MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")

REFUSED_V6 = tuple(
    (IPv6Network(network), words)
    for network, words in (
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation only"),
        ("3fff::/20", "for documentation only"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)


def judge(address: str | IPv4Address | IPv6Address, allow: Sequence[Network]) -> str | None:
    """Say why callbacks may not reach this address, or None if they may.

    The reason completes "10.0.0.1 is …", as in "private (10.0.0.0/8)". `allow` opens exactly its
    networks.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an IP address"
    if isinstance(parsed, IPv4Address):
        return _judge_v4(parsed, allow)
    return _judge_v6(parsed, allow)


def _judge_v4(address: IPv4Address, allow: Sequence[Network]) -> str | None:
    if any(address in network for network in allow):
        return None
    return next((f"{words} ({network})" for network, words in REFUSED_V4 if address in network), None)


def _judge_v6(address: IPv6Address, allow: Sequence[Network]) -> str | None:
    if address.scope_id is not None:
        return "bound to one interface by its zone id"
    if any(address in network for network in allow):
        return None
    if address in MAPPED or address in NAT64:
        return _judge_v4(IPv4Address(int(address) & 0xFFFF_FFFF), allow)
    if address in SIX_TO_FOUR:
        inner = _judge_v4(IPv4Address(int(address) >> 80 & 0xFFFF_FFFF), ())
        return inner and f"a 6to4 address of one that is {inner}"
    for network, words in REFUSED_V6:
        if address in network:
            return f"{words} ({network})"
    return None if address in PUBLIC_V6 else f"not public unicast (outside {PUBLIC_V6})"


@dataclass(frozen=True, slots=True)
class CallbackUrl:
    """A callback URL that passed `check_url`, in its one normal form.

    `host` is lower-case ASCII (IDNA), an IPv6 address without its brackets; `path` starts with a
    slash.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @property
    def endpoint_url(self) -> str:
        """The endpoint's URL: without the query, and without a port that the scheme implies."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def full(self) -> str:
        """The URL to send to."""
        return self.endpoint_url if self.query is None else f"{self.endpoint_url}?{self.query}"


_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL
)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
_V4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def check_url(url: str, schemes: Collection[str], allow: Sequence[Network]) -> CallbackUrl | str:
    """Check and normalize a callback URL, without resolving its host.

    Returns:
        The URL in its normal form, or a sentence that says what is wrong and echoes nothing.
    """
    try:
        parts = _split(url, schemes)
        scheme = parts["scheme"].lower()
        host, port = _check_authority(parts["authority"], DEFAULT_PORTS[scheme])
    except _WrongUrl as wrong:
        return str(wrong)
    reason = judge(host, allow) if is_literal(host) else None
    if reason is not None:
        return f"the URL's host is {reason}; callbacks may not reach it"
    return CallbackUrl(scheme, host, port, parts["path"] or "/", parts["query"])


def is_literal(host: str) -> bool:
    """Whether the host of a checked URL is an address, not a name."""
    return ":" in host or _V4.fullmatch(host) is not None


class _WrongUrl(Exception):
    """What is wrong with a URL, as a sentence."""


def _split(url: str, schemes: Collection[str]) -> re.Match[str]:
    if len(url) > MAX_URL:
        raise _WrongUrl(f"the URL is longer than {MAX_URL:,} characters")
    if _UNSAFE.search(url):
        raise _WrongUrl("the URL holds a space, a control character or a backslash; percent-encode it")
    if "#" in url:
        raise _WrongUrl("the URL has a fragment (#…), which is never sent; leave it out")
    parts = _URL.fullmatch(url)
    if parts is None or parts["scheme"].lower() not in schemes:
        raise _WrongUrl(
            f"the URL must start with {' or '.join(f'{scheme}://' for scheme in sorted(schemes))}"
        )
    if not ((parts["path"] or "") + (parts["query"] or "")).isascii():
        raise _WrongUrl("the URL's path and query must be ASCII; percent-encode what is not")
    return parts


def _check_authority(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        raise _WrongUrl(
            "the URL holds a user name or password before an @; credentials in URLs are never sent"
        )
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        raise _WrongUrl("the URL's host can't be read: only an IPv6 address stands in brackets")
    host = _normal_name(split["name"]) if split["v6"] is None else _normal_v6(split["v6"])
    port = split["port"]
    if port is None:
        return host, default_port
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise _WrongUrl("the URL's port must be a number from 1 to 65535, without leading zeros")
    return host, int(port)


def _normal_v6(text: str) -> str:
    if "%" in text:
        raise _WrongUrl("the URL's host has a zone id (%…), which names an interface; leave it out")
    try:
        address = IPv6Address(text)
    except ValueError:
        raise _WrongUrl("the URL's host stands in brackets but is no IPv6 address") from None
    if address in MAPPED:
        raise _WrongUrl("the URL's host is an IPv4 address inside an IPv6 one; write the IPv4 address itself")
    if str(address) != text:
        raise _WrongUrl("the IPv6 address in the URL must be in its shortest form and lower case")
    return text


def _normal_name(text: str) -> str:
    host = _ascii(text)
    if host.endswith("."):
        raise _WrongUrl("the URL's host ends in a dot; leave it out")
    if _V4.fullmatch(host):
        return _normal_v4(host)
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise _WrongUrl("the URL's host ends in a number: write an IPv4 address as four decimal numbers")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _WrongUrl(
            "the URL's host must be a name: letters, digits and hyphens, with single dots between"
        )
    return host


def _ascii(text: str) -> str:
    # ASCII letters only: str.lower turns the Kelvin sign into a k, which is another host.
    host = "".join(char.lower() if char.isascii() else char for char in text)
    if host.isascii():
        return host
    try:
        labels = [idna.alabel(label).decode() for label in host.split(".")]
    except idna.IDNAError:
        raise _WrongUrl("the URL's host is not a valid international domain name in lower case") from None
    return ".".join(labels)


def _normal_v4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise _WrongUrl(
            "the IPv4 address in the URL must be four numbers from 0 to 255, no leading zeros"
        ) from None
