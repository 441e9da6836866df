"""Settings: every rule of the table, all problems at once, and never a secret in a sentence."""

import ipaddress
import re
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from relay.common.errors import SettingsError
from relay.settings import FIELDS, Settings, describe, load, mask_database_url
from tests.support.settings import MASTER_KEY, problems

ANYTHING = st.text(st.characters(blacklist_characters="\0", blacklist_categories=()), max_size=60)


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = load({}, open_files=65_536)
    assert settings.database_url.get_secret_value() == "sqlite:///relay.db"
    assert settings.upstream_url == "https://vod.cn-shanghai.aliyuncs.com"
    assert settings.upstream_rate == 10.0
    assert settings.upstream_signature == "v3"
    assert list(settings.retry_schedule) == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert (settings.attempt_timeout, settings.lease_seconds, settings.max_in_flight) == (15.0, 60.0, 1000)
    assert (settings.callback_schemes, settings.callback_allow) == (("https",), ())
    assert (settings.missing_grace, settings.retention_days, settings.port) == (600.0, 30.0, 8000)
    assert (settings.metrics_addr, settings.log_format, settings.dns_servers) == (None, "auto", ())
    assert (settings.access_key_id, settings.master_keys.get_secret_value(), settings.callback_ca_file) == (
        None,
        (),
        None,
    )


def test_every_setting_is_read(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    settings = load(
        {
            "DATABASE_URL": "postgresql://u:p@db/relay",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
            "ALIBABA_CLOUD_SECURITY_TOKEN": "CAISfakeTok+en/==",
            "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1234567890123456:role/relay",
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token",
            "ALIBABA_CLOUD_ROLE_SESSION_NAME": "relay-1@prod",
            "ALIBABA_CLOUD_STS_REGION": "cn-shanghai",
            "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "True",
            "ALIBABA_CLOUD_ECS_METADATA": "relay-role",
            "RELAY_UPSTREAM_URL": "http://127.0.0.1:9999",
            "RELAY_UPSTREAM_RATE": "2.5",
            "RELAY_UPSTREAM_SIGNATURE": "V1",
            "RELAY_MASTER_KEY": f"{MASTER_KEY},{MASTER_KEY.rstrip('=')}",
            "RELAY_ADMIN_TOKEN": "open-sesame",
            "RELAY_CALLBACK_ALLOW": "127.0.0.0/8, ::1/128,10.0.0.7",
            "RELAY_CALLBACK_SCHEMES": "http,https,http",
            "RELAY_RETRY_SCHEDULE": "0.5, 2",
            "RELAY_ATTEMPT_TIMEOUT": "5",
            "RELAY_LEASE_SECONDS": "20",
            "RELAY_MAX_IN_FLIGHT": "7",
            "RELAY_CALLBACK_CA_FILE": str(bundle),
            "RELAY_DNS_SERVERS": "10.0.0.2,10.0.0.2:5353,fd00::2,[fd00::2]:53",
            "RELAY_MISSING_GRACE": "0",
            "RELAY_VOD_CALLBACK_URL": "https://relay.example.com/hooks/vod?a=b",
            "RELAY_VOD_CALLBACK_KEY": "NewKey1, OldKey2",
            "RELAY_METRICS_ADDR": "[::1]:9100",
            "RELAY_LOG_FORMAT": "json",
            "RELAY_RETENTION_DAYS": "0.5",
            "PORT": "9000",
            "WEB_CONCURRENCY": "3",
        }
    )
    assert settings.security_token is not None
    assert settings.security_token.get_secret_value() == "CAISfakeTok+en/=="
    assert settings.master_keys.get_secret_value() == (bytes(range(32)), bytes(range(32)))
    assert settings.callback_allow[2] == ipaddress.ip_network("10.0.0.7/32")
    assert settings.callback_schemes == ("http", "https")
    assert list(settings.retry_schedule) == [0.5, 2.0]
    assert settings.dns_servers == ("10.0.0.2", "10.0.0.2:5353", "fd00::2", "[fd00::2]:53")
    assert (settings.upstream_signature, settings.callback_ca_file) == ("v1", bundle)
    assert settings.vod_callback_url == "https://relay.example.com/hooks/vod?a=b"
    assert settings.vod_callback_keys.get_secret_value() == ("NewKey1", "OldKey2")
    assert settings.vpc_endpoint
    assert settings.model_fields_set == {*FIELDS.values(), "open_files"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "oracle://u:p@h/db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:relay.db"),
        ("DATABASE_URL", "SQLITE:///relay.db"),
        ("DATABASE_URL", "postgresql+asyncpg://h/db"),
        ("DATABASE_URL", "postgresql://u:p@h"),
        ("DATABASE_URL", "postgresql://u:p[x@h/db"),
        ("DATABASE_URL", "mysql://h:99999/db"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "two words"),
        ("ALIBABA_CLOUD_ROLE_SESSION_NAME", "x"),
        ("ALIBABA_CLOUD_STS_REGION", "cn-shanghai.evil.example"),
        ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "yes"),
        ("ALIBABA_CLOUD_ECS_METADATA", "../role"),
        ("RELAY_VOD_CALLBACK_URL", "relay.example.com/hooks/vod"),
        ("RELAY_VOD_CALLBACK_KEY", "one,two,three"),
        ("RELAY_UPSTREAM_URL", "ftp://h"),
        ("RELAY_UPSTREAM_URL", "https://user@h"),
        ("RELAY_UPSTREAM_URL", "https://h/?Action=x"),
        ("RELAY_UPSTREAM_URL", "https://h/path"),
        ("RELAY_UPSTREAM_RATE", "0"),
        ("RELAY_UPSTREAM_RATE", "nan"),
        ("RELAY_UPSTREAM_RATE", "1e3"),
        ("RELAY_UPSTREAM_RATE", "1_000"),
        ("RELAY_UPSTREAM_RATE", "\uff11\uff10"),
        ("RELAY_UPSTREAM_SIGNATURE", "v2"),
        ("RELAY_MASTER_KEY", "c2hvcnQ="),
        ("RELAY_MASTER_KEY", "not base64!"),
        ("RELAY_CALLBACK_ALLOW", "10.0.0.1/8"),
        ("RELAY_CALLBACK_ALLOW", "fe80::%eth0/64"),
        ("RELAY_CALLBACK_ALLOW", "localhost"),
        ("RELAY_CALLBACK_SCHEMES", "ftp"),
        ("RELAY_CALLBACK_SCHEMES", ","),
        ("RELAY_RETRY_SCHEDULE", "5,0"),
        ("RELAY_RETRY_SCHEDULE", "2592001"),
        ("RELAY_RETRY_SCHEDULE", ",".join(["1"] * 51)),
        ("RELAY_RETRY_SCHEDULE", ","),
        ("RELAY_ATTEMPT_TIMEOUT", "-5"),
        ("RELAY_LEASE_SECONDS", "29"),
        ("RELAY_MAX_IN_FLIGHT", "0"),
        ("RELAY_MAX_IN_FLIGHT", "1.5"),
        ("RELAY_CALLBACK_CA_FILE", "/nowhere/ca.pem"),
        ("RELAY_CALLBACK_CA_FILE", "/dev/null"),
        ("RELAY_CALLBACK_CA_FILE", __file__),
        ("RELAY_DNS_SERVERS", "dns.example"),
        ("RELAY_DNS_SERVERS", "10.0.0.2:0"),
        ("RELAY_METRICS_ADDR", "9100"),
        ("RELAY_METRICS_ADDR", "h:65536"),
        ("RELAY_LOG_FORMAT", "xml"),
        ("RELAY_RETENTION_DAYS", "inf"),
        ("PORT", "http"),
        ("WEB_CONCURRENCY", "0"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(name: str, value: str) -> None:
    whole_key = {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"} if name == "ALIBABA_CLOUD_ACCESS_KEY_ID" else {}
    if name == "RELAY_VOD_CALLBACK_KEY":
        whole_key = {"RELAY_VOD_CALLBACK_URL": "https://relay.example.com/hooks/vod"}
    with_key = {"RELAY_MASTER_KEY": MASTER_KEY} if name == "DATABASE_URL" else {}
    (sentence,) = problems({name: value} | whole_key | with_key)
    assert re.fullmatch(rf"{name} \S.*[^.]\.", sentence)


def test_all_problems_are_said_at_once() -> None:
    said = problems(
        {
            "DATABASE_URL": "postgresql://u:p@h/db",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
            "RELAY_UPSTREAM_RATE": "fast",
            "RELAY_ATTEMPT_TIMEOUT": "100",
            "RELAY_UPSTREAM_RAET": "1",
            "RELAY_VOD_CALLBACK_KEY": "k",
            "PORT": "no",
        }
    )
    assert sorted(sentence.split()[0] for sentence in said) == [
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "PORT",
        "RELAY_LEASE_SECONDS",
        "RELAY_MASTER_KEY",
        "RELAY_UPSTREAM_RAET",
        "RELAY_UPSTREAM_RATE",
        "RELAY_VOD_CALLBACK_KEY",
    ]


def test_an_unknown_name_is_an_error_that_proposes_the_nearest() -> None:
    assert problems({"RELAY_UPSTREAM_RAET": "1"}) == [
        "RELAY_UPSTREAM_RAET is not a setting; did you mean RELAY_UPSTREAM_RATE?"
    ]
    (sentence,) = problems({"RELAY_\x1b[2J": "1"})
    assert "\x1b" not in sentence


def test_names_that_kubernetes_injects_pass() -> None:
    load({"RELAY_PORT": "tcp://10.0.0.1:80", "RELAY_PORT_80_TCP": "x", "RELAY_SERVICE_HOST": "10.0.0.1"})


def test_an_empty_value_counts_as_not_set() -> None:
    assert load({"RELAY_UPSTREAM_RATE": "", "PORT": "  ", "RELAY_VOD_CALLBACK_URL": ""}).port == 8000


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_must_be(name: str) -> None:
    """The sentence for a wrong value is made of it."""
    assert Settings.model_fields[FIELDS[name]].description


def test_an_empty_file_name_counts_as_not_set() -> None:
    assert load({"RELAY_ADMIN_TOKEN_FILE": " ", "RELAY_ADMIN_TOKEN": "x", "PORT_FILE": ""}).admin_token


def test_a_value_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("open-sesame\n")
    settings = load({"RELAY_ADMIN_TOKEN_FILE": str(file), "RELAY_ADMIN_TOKEN": ""})
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "open-sesame"


def test_a_file_and_a_value_for_one_name_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    (sentence,) = problems({"RELAY_ADMIN_TOKEN_FILE": str(file), "RELAY_ADMIN_TOKEN": "y"})
    assert "RELAY_ADMIN_TOKEN and RELAY_ADMIN_TOKEN_FILE" in sentence


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_holds_no_text_is_an_error_that_does_not_quote_the_path(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "hush-7f3a"
    if content is not None:
        file.write_bytes(content)
    (sentence,) = problems({"RELAY_ADMIN_TOKEN_FILE": str(file)})
    assert sentence.startswith("RELAY_ADMIN_TOKEN_FILE names ")
    assert "hush" not in sentence


@pytest.mark.parametrize(("open_files", "effective"), [(1024, 720), (65_536, 1000), (10, 1)])
def test_transfers_are_bounded_by_the_open_files_limit(open_files: int, effective: int) -> None:
    settings = load({}, open_files=open_files)
    assert settings.max_in_flight == effective
    note = {name: note for name, _, note in describe(settings)}["RELAY_MAX_IN_FLIGHT"]
    assert (f"{effective} by the open-files limit" in note) == (effective != 1000)


def test_neither_repr_nor_description_shows_a_secret() -> None:
    settings = load(
        {
            "DATABASE_URL": "postgresql://relay:hush-db@db/relay?sslpassword=hush-q",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "hush-id",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hush-secret",
            "RELAY_MASTER_KEY": MASTER_KEY,
            "RELAY_ADMIN_TOKEN": "hush-token",
            "RELAY_VOD_CALLBACK_URL": "https://relay.example.com/hooks/vod",
            "RELAY_VOD_CALLBACK_KEY": "hush-one,hush-two",
        }
    )
    shown = (
        f"{settings!r} {settings} {describe(settings)} {settings.master_keys} {settings.vod_callback_keys}"
    )
    assert "hush" not in shown
    assert MASTER_KEY not in shown
    assert repr(bytes(range(32))) not in shown
    rows = {name: value for name, value, _ in describe(settings)}
    assert rows["DATABASE_URL"] == "postgresql://relay:***@db/relay"
    assert rows["RELAY_MASTER_KEY"] == rows["RELAY_ADMIN_TOKEN"] == "(set)"
    assert rows["RELAY_VOD_CALLBACK_KEY"] == "(set)"
    assert rows["ALIBABA_CLOUD_SECURITY_TOKEN"] == "(not set)"
    assert rows["ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"] == "false"
    assert rows["RELAY_RETRY_SCHEDULE"] == "5,300,1800,7200,18000,36000,50400,72000,86400"


@pytest.mark.parametrize("tail", ["@h/db", "@h/db?password=hush@x", "?x@h/db", "/y@h/db", "#@h/db", "@@h/db"])
def test_the_password_is_masked_in_strange_urls_too(tail: str) -> None:
    assert "hush" not in mask_database_url(f"postgresql://u:hush{tail}")


def outcome(environ: dict[str, str]) -> Settings | list[str]:
    try:
        return load(environ)
    except SettingsError as error:
        return error.problems


@given(
    st.dictionaries(st.sampled_from(sorted(FIELDS)), ANYTHING),
    st.dictionaries(ANYTHING, ANYTHING, max_size=3),
)
def test_whatever_the_environment_holds_it_is_settings_or_sentences(
    known: dict[str, str], other: dict[str, str]
) -> None:
    prefixed = {f"RELAY_{name}": value for name, value in other.items()}
    assert outcome(other | prefixed | known)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.text("hush-0f@:/?#[], =", min_size=1)))
def test_no_problem_quotes_a_value(values: dict[str, str]) -> None:
    marked = {name: f"{text}hush-4471e{text}" for name, text in values.items()}
    for environ in (marked, {f"{name}_FILE": text for name, text in marked.items()}):
        said = outcome(environ)
        assert isinstance(said, Settings) or "4471e" not in "".join(said)


def test_an_unknown_name_like_none_leads_to_the_page_of_settings() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"RELAY_QQQQQQQQJJJJJJJJ": "1"})
    sentence = "RELAY_QQQQQQQQJJJJJJJJ is not a setting; docs/settings.md lists those that are."
    assert caught.value.problems == [sentence]
    assert (Path(__file__).parents[2] / "docs/settings.md").is_file()
