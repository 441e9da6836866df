import string
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from relay.endpoints.rules.addresses import REFUSED_V4, CallbackUrl, check_url, judge
from tests.support.addresses import FORBIDDEN

BOTH = ("http", "https")

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1"),
    *("192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
    *("168.63.129.15", "168.63.129.17", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111"),
    *("2002:808:808::1", "64:ff9b::808:808", "::ffff:8.8.8.8", "2000::", "3ffe::1"),
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_S1_what_is_not_plainly_public_is_refused_with_a_reason(address: str) -> None:
    assert judge(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_S1_public_unicast_is_allowed(address: str) -> None:
    assert judge(address, ()) is None


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2606:4700::1111%1"])
def test_S1_zone_ids_are_refused_whatever_is_allowed(address: str) -> None:
    assert "zone" in (judge(address, [ip_network("::/0")]) or "")


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "0x7f.0.0.1", "127.0.0.01", "1.1.1.1 ", "[::1]"])
def test_text_that_is_no_address_is_refused(text: str) -> None:
    assert judge(text, [ip_network("0.0.0.0/0"), ip_network("::/0")]) == "not an IP address"


def test_S3_an_allowed_network_opens_only_itself() -> None:
    allow = [ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")]
    allowed = {"10.1.0.0", "10.1.255.255", "fd00:1::1", "::ffff:10.1.2.3", "64:ff9b::a01:203"}
    closed = {"10.0.255.255", "10.2.0.0", "127.0.0.1", "fd00:2::1", "::ffff:10.2.0.1", "2002:a01:203::1"}
    assert {address for address in allowed | closed if judge(address, allow) is None} == allowed


def test_the_reason_is_words_that_name_the_network() -> None:
    assert judge("10.0.0.1", ()) == "private (10.0.0.0/8)"
    assert judge("::1", ()) == "loopback (::1/128)"
    assert judge("5f00::1", ()) == "not public unicast (outside 2000::/3)"


@given(st.ip_addresses(v=4))
def test_S1_an_ipv4_address_is_judged_alike_in_every_disguise(address: IPv4Address) -> None:
    plain = judge(address, ()) is None
    mapped = IPv6Address(0xFFFF << 32 | int(address))
    nat64 = IPv6Address(0x64FF9B << 96 | int(address))
    six_to_four = IPv6Address(0x2002 << 112 | int(address) << 80)
    assert [judge(one, ()) is None for one in (str(address), mapped, nat64, six_to_four)] == [plain] * 4


@given(st.ip_addresses(v=4))
def test_S1_nothing_public_in_the_table_and_nothing_else_refused(address: IPv4Address) -> None:
    assert (judge(address, ()) is not None) == any(address in network for network, _ in REFUSED_V4)


@given(st.ip_addresses(v=6))
def test_S1_ipv6_is_allowed_only_inside_global_unicast(address: IPv6Address) -> None:
    assume(address not in IPv6Network("64:ff9b::/96") and address not in IPv6Network("::ffff:0:0/96"))
    assert judge(address, ()) is not None or address in IPv6Network("2000::/3")


def test_a_url_is_normalized() -> None:
    url = check_url("HTTPS://Example.COM:443/Hook/../A?q=1&x[]=%20", BOTH, ())
    assert url == CallbackUrl("https", "example.com", 443, "/Hook/../A", "q=1&x[]=%20")
    assert url.endpoint_url == "https://example.com/Hook/../A"
    assert url.full == "https://example.com/Hook/../A?q=1&x[]=%20"


@pytest.mark.parametrize(
    ("given_url", "full"),
    [
        ("http://example.com", "http://example.com/"),
        ("http://example.com:80", "http://example.com/"),
        ("http://example.com:8080?x", "http://example.com:8080/?x"),
        ("https://example.com:80/?", "https://example.com:80/?"),
        ("https://bücher.example/ok", "https://xn--bcher-kva.example/ok"),
        ("https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://8.8.8.8/@me", "https://8.8.8.8/@me"),
        ("https://localhost/x", "https://localhost/x"),
        ("https://relay.internal/x", "https://relay.internal/x"),
        ("https://my_service-1.prod/", "https://my_service-1.prod/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://1.example/", "https://1.example/"),
        ("https://[64:ff9b::808:808]/", "https://[64:ff9b::808:808]/"),
    ],
)
def test_good_urls_have_one_normal_form(given_url: str, full: str) -> None:
    url = check_url(given_url, BOTH, ())
    assert isinstance(url, CallbackUrl)
    assert url.full == full
    assert check_url(full, BOTH, ()) == url


DISGUISES = [
    *(
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
    ),
    *(
        "127.0.0.0x1",
        "127.0.0.01",
        "127.000.000.001",
        "127.0.0.1.",
        "127.0.0.256",
        "1.2.3.4.5",
        "127.0.0.1.0x",
    ),
    *("0", "0x", "1.2.3.09", "foo.1", "foo.0x1", "4294967296", "00000000000000000000177.1", "8.8.8.8."),
    *("[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[::ffff:8.8.8.8]", "[0:0:0:0:0:0:0:1]", "[::0001]"),
    *("[2606:4700:0::1111]", "[2606:4700::ABCD]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1", "::1", "[]"),
    *(
        "[1.2.3.4]",
        "[::1].example",
        "[v1.x]",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "8\u30028\u30028\u30028",
        "\u2460\u2461\u2466.0.0.1",
    ),
    *(
        "1\u09e87.0.0.1",
        "exam\u00adple.com",
        "example.com\u3002",
        "exam%70le.com",
        "127.0.0.1%00",
        "%31.1.1.1",
    ),
    *("example.com.", "example..com", ".example.com", "-a.example", "a-.example", "a" * 64 + ".example"),
    *("", ".", "*", "a,b", "a;b", "$x", "a!b", "(a)", "a'b", "Kelvin\u212a.example", "e\u0301.example\u200b"),
    "a." * 130 + "example",
]


@pytest.mark.parametrize("host", DISGUISES)
def test_S1_hosts_that_are_not_in_their_canonical_spelling_are_refused(host: str) -> None:
    for url in (f"http://{host}/", f"http://{host}:8080/x", f"http://{host}"):
        assert isinstance(check_url(url, BOTH, [ip_network("0.0.0.0/0"), ip_network("::/0")]), str)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_S1_forbidden_literals_are_refused_when_saved(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert isinstance(check_url(f"https://{host}/", BOTH, ()), str)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user@example.com/", "user name"),
        ("https://user:pass@example.com/", "user name"),
        ("https://8.8.8.8@127.0.0.1/", "user name"),
        ("https://@example.com/", "user name"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com#@127.0.0.1/", "fragment"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https:\\\\example.com/", "backslash"),
        ("https://exam\tple.com/", "control"),
        ("https://example.com/\r\nx: y", "control"),
        (" https://example.com/", "space"),
        ("https://example.com/a b", "space"),
        ("https://example.com/\x00", "control"),
        ("https://example.com/\x7f", "control"),
        ("https://example.com/\x85", "control"),
        ("https://example.com/ü", "ASCII"),
        ("https://example.com/?ü", "ASCII"),
        ("https://example.com:/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:080/", "port"),
        ("https://example.com:+80/", "port"),
        ("https://example.com:\uff18\uff10/", "port"),
        ("https://example.com:80:80/", "port"),
        ("https:example.com", "start with"),
        ("https:/example.com", "start with"),
        ("//example.com", "start with"),
        ("ftp://example.com/", "start with"),
        ("http\u017f://example.com/", "start with"),
        ("file:///etc/passwd", "start with"),
        ("", "start with"),
        ("https://example.com/" + "a" * 2029, "2,048"),
        ("https://10.0.0.1/", "private"),
    ],
)
def test_wrong_urls_are_refused_in_plain_words(url: str, words: str) -> None:
    problem = check_url(url, BOTH, ())
    assert isinstance(problem, str)
    assert words in problem


def test_only_allowed_schemes_pass() -> None:
    assert check_url("http://example.com/", ("https",), ()) == "the URL must start with https://"


def test_a_url_of_exactly_2048_characters_passes() -> None:
    url = "https://example.com/" + "a" * 2028
    assert len(url) == 2048
    assert isinstance(check_url(url, BOTH, ()), CallbackUrl)


def test_an_allowed_network_lets_its_literals_pass() -> None:
    allow = [IPv4Network("127.0.0.0/8")]
    assert isinstance(check_url("http://127.0.0.1:8000/x", BOTH, allow), CallbackUrl)
    assert isinstance(check_url("http://[::1]:8000/x", BOTH, allow), str)


TRICKY = st.text(
    st.sampled_from(string.ascii_letters + string.digits + ".:/@?#[]%\\-_x\uff10\u3002é\t \x00"), max_size=40
)


@given(TRICKY)
@example("[")
@example("1.1.1.1:1:1")
def test_S1_whatever_passes_is_plain_and_stable(text: str) -> None:
    url = check_url(f"http://{text}", BOTH, ())
    if isinstance(url, CallbackUrl):
        assert url.full.isascii()
        assert url.full.isprintable()
        assert check_url(url.full, BOTH, ()) == url
        assert url.host == url.host.lower()
        assert not set(url.host) & set("@/\\?#% []")


@given(st.text(max_size=60))
def test_a_problem_never_echoes_what_was_sent(text: str) -> None:
    marked = f"https://needle{text}needle.{text}/"
    problem = check_url(marked, BOTH, ())
    assert isinstance(problem, CallbackUrl) or "needle" not in problem
