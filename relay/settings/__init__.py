"""The settings: one frozen model, read from the environment once, with every problem said at once.

A value may also come from a file whose path is in `NAME_FILE`; an empty value counts as not set. No
sentence here ever quotes a value: it could be a secret, also one that was put under the wrong name.
"""

import difflib
import re
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Secret, ValidationError

from relay.common.errors import SettingsError
from relay.db.dialects import database_file, url_forms
from relay.settings.types import (
    BY_COMMAS,
    IN_ANY_CASE,
    AuthoritiesFile,
    DatabaseUrl,
    Delay,
    DnsServer,
    Flag,
    HeaderText,
    HostPort,
    LiteralUrl,
    MasterKey,
    Network,
    Number,
    Origin,
    Schemes,
    WholeNumber,
)

LONGEST_ATTEMPT = 600  # seconds that RELAY_ATTEMPT_TIMEOUT may be
LEASE_MARGIN = 15.0  # seconds between the end of an attempt and of its lease: time to record the result
OWN_FILES = 64  # open files that are not callbacks: the database, logs, name servers, metrics
LARGEST_FILE = 1 << 20  # bytes of a NAME_FILE; more is surely not a setting

INJECTED = ("RELAY_PORT", "RELAY_SERVICE_")  # Kubernetes sets these for a service that is called relay

RETRY_DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
HEADER_TEXT = "printable ASCII without spaces, as it goes into an HTTP header"


def _setting(variable: str, default: Any, allowed: str, **constraints: Any) -> Any:
    """A field that is read from `variable`; of a wrong value is said that it must be `allowed`."""
    return Field(default, alias=variable, description=allowed, **constraints)


def _number(variable: str, default: float | None, least: float, most: float, unit: str) -> Any:
    allowed = f"{unit} from {least:g} to {most:.12g}, in plain digits"
    return _setting(variable, default, allowed, ge=least, le=most)


class Settings(BaseModel):
    """What the environment says. Durations are seconds unless the name says days."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: Secret[DatabaseUrl] = _setting(
        "DATABASE_URL",
        Secret("sqlite:///relay.db"),
        f"{url_forms()}, special characters percent-encoded",
    )
    access_key_id: Secret[HeaderText] | None = _setting("ALIBABA_CLOUD_ACCESS_KEY_ID", None, HEADER_TEXT)
    access_key_secret: Secret[HeaderText] | None = _setting(
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET", None, HEADER_TEXT
    )
    security_token: Secret[HeaderText] | None = _setting("ALIBABA_CLOUD_SECURITY_TOKEN", None, HEADER_TEXT)
    role_arn: HeaderText | None = _setting("ALIBABA_CLOUD_ROLE_ARN", None, HEADER_TEXT)
    oidc_provider_arn: HeaderText | None = _setting("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", None, HEADER_TEXT)
    oidc_token_file: Path | None = _setting("ALIBABA_CLOUD_OIDC_TOKEN_FILE", None, "a file's path")
    role_session_name: Annotated[str, Field(pattern="^[A-Za-z0-9.@_-]{2,64}$")] = _setting(
        "ALIBABA_CLOUD_ROLE_SESSION_NAME", "relay", "2 to 64 of letters, digits, . @ _ -"
    )
    sts_region: Annotated[str, Field(pattern="^[a-z0-9-]{2,32}$")] | None = _setting(
        "ALIBABA_CLOUD_STS_REGION", None, "a region's id, as in cn-shanghai"
    )
    vpc_endpoint: Flag = _setting("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", False, "true or false")
    ecs_role: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,64}$")] | None = _setting(
        "ALIBABA_CLOUD_ECS_METADATA", None, "the role's name, or true to ask for the name"
    )
    upstream_url: Origin = _setting(
        "RELAY_UPSTREAM_URL",
        "https://vod.cn-shanghai.aliyuncs.com",
        "http:// or https://, a host and perhaps a port: no user, path, query or fragment",
    )
    upstream_rate: Number = _number("RELAY_UPSTREAM_RATE", 10.0, 0.01, 10_000, "calls per second")
    upstream_signature: Annotated[Literal["v3", "v1"], IN_ANY_CASE] = _setting(
        "RELAY_UPSTREAM_SIGNATURE", "v3", "v3 or v1"
    )
    master_keys: Secret[Annotated[tuple[MasterKey, ...], BY_COMMAS]] = _setting(
        "RELAY_MASTER_KEY",
        Secret(()),
        "base64 of exactly 32 bytes, as `openssl rand -base64 32` makes it; several with commas between",
    )
    admin_token: Secret[HeaderText] | None = _setting("RELAY_ADMIN_TOKEN", None, HEADER_TEXT)
    callback_allow: Annotated[tuple[Network, ...], BY_COMMAS] = _setting(
        "RELAY_CALLBACK_ALLOW", (), "CIDRs separated by commas, host bits zero, as in 10.1.0.0/16,fd00::/8"
    )
    callback_schemes: Schemes = _setting(
        "RELAY_CALLBACK_SCHEMES", ("https",), "https, or http,https", min_length=1
    )
    retry_schedule: Annotated[tuple[Delay, ...], BY_COMMAS] = _setting(
        "RELAY_RETRY_SCHEDULE",
        RETRY_DELAYS,
        "1 to 50 delays separated by commas, each above 0 and of at most 2592000 seconds (30 days)",
        min_length=1,
        max_length=50,
    )
    attempt_timeout: Number = _number("RELAY_ATTEMPT_TIMEOUT", 15.0, 0.1, LONGEST_ATTEMPT, "seconds")
    lease_seconds: Number = _number("RELAY_LEASE_SECONDS", 60.0, 1, 86_400, "seconds")
    max_in_flight_asked: WholeNumber = _number("RELAY_MAX_IN_FLIGHT", 1000, 1, 100_000, "a whole number")
    open_files: int = Field(1024, ge=1)
    callback_ca_file: AuthoritiesFile | None = _setting(
        "RELAY_CALLBACK_CA_FILE", None, "a PEM file with a certificate, which this user may read"
    )
    dns_servers: Annotated[tuple[DnsServer, ...], BY_COMMAS] = _setting(
        "RELAY_DNS_SERVERS",
        (),
        "addresses separated by commas: 10.0.0.2, 10.0.0.2:5353, fd00::2 or [fd00::2]:53",
    )
    missing_grace: Number = _number("RELAY_MISSING_GRACE", 600.0, 0, 2_592_000, "seconds")
    vod_callback_url: LiteralUrl | None = _setting(
        "RELAY_VOD_CALLBACK_URL", None, "the http or https URL that is configured at VOD, to the letter"
    )
    vod_callback_keys: Secret[Annotated[tuple[HeaderText, ...], BY_COMMAS, Field(max_length=2)]] = _setting(
        "RELAY_VOD_CALLBACK_KEY", Secret(()), "one or two keys as configured at VOD, separated by a comma"
    )
    metrics_addr: HostPort | None = _setting(
        "RELAY_METRICS_ADDR", None, "host:port, as in 127.0.0.1:9100, [::1]:9100 or :9100 (every interface)"
    )
    log_format: Annotated[Literal["auto", "json", "text"], IN_ANY_CASE] = _setting(
        "RELAY_LOG_FORMAT", "auto", "auto, json or text"
    )
    retention_days: Number = _number("RELAY_RETENTION_DAYS", 30.0, 0.001, 3650, "days")
    port: WholeNumber = _number("PORT", 8000, 1, 65_535, "a whole number")
    web_concurrency: WholeNumber | None = _number("WEB_CONCURRENCY", None, 1, 256, "a whole number")

    @property
    def max_in_flight(self) -> int:
        """Transfers at once in one dispatcher: what was asked for, within the open-files limit."""
        return max(1, min(self.max_in_flight_asked, (self.open_files - OWN_FILES) * 3 // 4))

    @property
    def max_connections(self) -> int:
        """Connections to receivers that one dispatcher keeps idle, beside those that are busy.

        Twice its transfers, as far as the open-files limit goes: with fewer, hosts push
        each other's connections out, and opening one costs more than a delivery.
        """
        return max(1, min(2 * self.max_in_flight, self.open_files - OWN_FILES - self.max_in_flight))

    def contradictions(self) -> Iterator[str]:
        """What is wrong between settings that are right alone; each sentence names all of them."""
        if (self.access_key_id is None) != (self.access_key_secret is None):
            yield (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_ACCESS_KEY_ID belong together;"
                " set both or neither."
            )
        if self.security_token is not None and self.access_key_id is None:
            yield "ALIBABA_CLOUD_SECURITY_TOKEN is set without its ALIBABA_CLOUD_ACCESS_KEY_ID."
        role = (self.role_arn, self.oidc_provider_arn, self.oidc_token_file)
        if self.access_key_id is None and None in role and any(role):  # a static key goes before a role
            yield (
                "ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE"
                " belong together; set all three or none."
            )
        if bool(self.vod_callback_url) != bool(self.vod_callback_keys.get_secret_value()):
            yield "RELAY_VOD_CALLBACK_KEY and RELAY_VOD_CALLBACK_URL belong together; set both or neither."
        is_shared = database_file(self.database_url.get_secret_value()) is None
        if is_shared and not self.master_keys.get_secret_value():
            yield (
                "RELAY_MASTER_KEY must be set, as DATABASE_URL is not SQLite and every machine needs the same"
                " key; `openssl rand -base64 32` makes one."
            )
        if self.lease_seconds < self.attempt_timeout + LEASE_MARGIN:
            yield (
                "RELAY_LEASE_SECONDS must be at least RELAY_ATTEMPT_TIMEOUT + 15,"
                " or a delivery could be sent twice."
            )


FIELDS = {str(field.alias): name for name, field in Settings.model_fields.items() if field.alias}


def names_a_setting(variable: str) -> bool:
    """Whether an environment variable is read here, as it is or as the name of a file."""
    return variable in FIELDS or variable.removesuffix("_FILE") in FIELDS


def load(environ: Mapping[str, str], *, open_files: int | None = None) -> Settings:
    """Read the settings from `environ`; `open_files` is the process's own limit unless given.

    Raises:
        SettingsError: one sentence for each problem: the variable, what is wrong, what is allowed.
    """
    problems = [
        _unknown(name)
        for name in environ
        if name.startswith("RELAY_") and not (names_a_setting(name) or name.startswith(INJECTED))
    ]
    values: dict[str, Any] = _gather(environ, problems)
    values["open_files"] = open_files or _open_files_limit()
    wrong: dict[str, None] = {}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        wrong = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
        right = {name: value for name, value in values.items() if name not in wrong}
        settings = Settings.model_validate(right)  # for the contradictions between these
    problems += [f"{name} must be {Settings.model_fields[FIELDS[name]].description}." for name in wrong]
    problems += [text for text in settings.contradictions() if not wrong.keys() & re.findall("[A-Z_]+", text)]
    if problems:
        raise SettingsError(problems)
    return settings


def _gather(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """Collect the texts that are set, in variables or in the files that they name."""
    values = {}
    for name in FIELDS:
        text, path = (environ.get(variable, "").strip() for variable in (name, f"{name}_FILE"))
        if text and path:
            problems.append(f"{name} and {name}_FILE are both set; keep one of them.")
        elif path:
            text = _read_file(f"{name}_FILE", path, problems)
        if text:
            values[name] = text
    return values


def _read_file(name: str, path: str, problems: list[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            text = file.read(LARGEST_FILE).decode().strip()
    except (OSError, ValueError):
        problems.append(
            f"{name} names a file that can't be read as text; is the path right, and may this user read it?"
        )
        return ""
    if not text:
        problems.append(f"{name} names an empty file; put the value into it or unset the variable.")
    return text


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, sorted(FIELDS), 1)
    advice = f"did you mean {close[0]}?" if close else "docs/settings.md lists those that are."
    return f"{ascii(name)[1:-1][:80]} is not a setting; {advice}"


def _open_files_limit() -> int:
    """The hard limit: a sender raises its own limit up to it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting as (variable, value fit to be shown, note), in the order of the model."""
    return [
        (variable, _shown(name, getattr(settings, name)), _note(name, settings))
        for variable, name in FIELDS.items()
    ]


def _note(name: str, settings: Settings) -> str:
    if name == "max_in_flight_asked" and settings.max_in_flight < settings.max_in_flight_asked:
        return f"but {settings.max_in_flight} by the open-files limit of {settings.open_files} (ulimit -Hn)"
    return "" if name in settings.model_fields_set else "default"


def _shown(name: str, value: Any) -> str:
    if name == "database_url":
        return mask_database_url(value.get_secret_value())
    if isinstance(value, Secret):
        return "(set)" if value.get_secret_value() else "(not set)"
    if value in {None, ()}:
        return "(not set)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_shown("", item) for item in value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def mask_database_url(url: str) -> str:
    """Show scheme, user, host and database; hide password and query, however strange their form."""
    scheme, _, location = url.partition("://")
    user_part, at, place = location.rpartition("@")
    user = re.split(r"[:/?#]", user_part)[0]
    password = ":***" if user != user_part else ""
    return f"{scheme}://{user}{password}{at}{re.split(r'[?#]', place)[0]}"
