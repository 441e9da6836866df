"""The settings: one frozen model, read from the environment once, with every problem said at once.

A value may also come from a file whose path is in `NAME_FILE`; an empty value counts as not set. No
sentence here ever quotes a value: it could be a secret, also one that was put under the wrong name.
"""

import difflib
import re
import resource
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from relay.common.errors import SettingsError
from relay.settings import types as texts
from relay.settings.types import CallbackKeys, KeyRing, Network, Wrong

LONGEST_ATTEMPT = 600  # seconds that RELAY_ATTEMPT_TIMEOUT may be
LEASE_MARGIN = 15.0  # seconds between the end of an attempt and the end of its lease: time to settle
OWN_FILES = 64  # open files that are not callbacks: the database, logs, name servers, metrics
LARGEST_FILE = 1 << 20  # bytes of a NAME_FILE; more is surely not a setting

INJECTED = ("RELAY_PORT", "RELAY_SERVICE_")  # Kubernetes sets these for a service that is called relay


def _read(parse: Callable[[str], object]) -> BeforeValidator:
    """Show a parser only what came as text: a default is a value already."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _readable_file(text: str) -> Path:
    path = Path(text)
    try:
        path.open("rb").close()
    except (OSError, ValueError):
        raise Wrong(
            "names a file that can't be opened; is the path right, and may this user read it?"
        ) from None
    return path


def _authorities(text: str) -> Path:
    """Open a file of authorities; one without any would only be noticed when no callback gets through."""
    path = _readable_file(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
        found = context.cert_store_stats()["x509"]  # 0: a revocation list alone is read without an error
    except OSError:  # which SSLError is too
        found = 0
    if not found:
        raise Wrong("names a file without a certificate that can be read; it must be PEM")
    return path


DatabaseUrl = Annotated[SecretStr, _read(texts.database_url)]
Name = Annotated[str | None, _read(texts.printable)]
Secret = Annotated[SecretStr | None, _read(texts.printable)]
TokenFile = Annotated[Path | None, _read(texts.path)]
SessionName = Annotated[
    str, _read(texts.matching("[A-Za-z0-9.@_-]{2,64}", "2 to 64 of letters, digits, . @ _ -"))
]
Region = Annotated[str | None, _read(texts.matching("[a-z0-9-]{2,32}", "a region's id, as in cn-shanghai"))]
Flag = Annotated[bool, _read(texts.flag)]
EcsRole = Annotated[
    str | None, _read(texts.matching("[A-Za-z0-9._-]{1,64}", "the role's name, or true to ask for the name"))
]
UpstreamUrl = Annotated[str, _read(texts.upstream_url)]
UpstreamRate = Annotated[float, _read(texts.number(0.01, 10_000, "calls per second"))]
Signature = Annotated[Literal["v3", "v1"], _read(texts.one_of("v3", "v1"))]
MasterKeys = Annotated[KeyRing, _read(texts.master_keys)]
Networks = Annotated[tuple[Network, ...], _read(texts.networks)]
Schemes = Annotated[tuple[str, ...], _read(texts.schemes)]
RetrySchedule = Annotated[tuple[float, ...], _read(texts.retry_schedule)]
AttemptTimeout = Annotated[float, _read(texts.number(0.1, LONGEST_ATTEMPT, "seconds"))]
Lease = Annotated[float, _read(texts.number(1, 86_400, "seconds"))]
Transfers = Annotated[int, _read(texts.integer(1, 100_000))]
CaFile = Annotated[Path | None, _read(_authorities)]
DnsServers = Annotated[tuple[str, ...], _read(texts.dns_servers)]
Grace = Annotated[float, _read(texts.number(0, 2_592_000, "seconds"))]
VodUrl = Annotated[str | None, _read(texts.vod_callback_url)]
VodKeys = Annotated[CallbackKeys, _read(texts.callback_keys)]
Address = Annotated[str | None, _read(texts.metrics_addr)]
LogFormat = Annotated[Literal["auto", "json", "text"], _read(texts.one_of("auto", "json", "text"))]
Days = Annotated[float, _read(texts.number(0.001, 3650, "days"))]
Port = Annotated[int, _read(texts.integer(1, 65_535))]
Workers = Annotated[int | None, _read(texts.integer(1, 256))]

DEFAULT_SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)


class Settings(BaseModel):
    """What the environment says, read and judged. Durations are seconds unless the name says days.

    A validator sees the fields above its own (`info.data`), and of those only the ones that are
    right.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    database_url: DatabaseUrl = Field(SecretStr("sqlite:///relay.db"), alias="DATABASE_URL")
    access_key_id: Secret = Field(None, alias="ALIBABA_CLOUD_ACCESS_KEY_ID")
    access_key_secret: Secret = Field(None, alias="ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    security_token: Secret = Field(None, alias="ALIBABA_CLOUD_SECURITY_TOKEN")
    role_arn: Name = Field(None, alias="ALIBABA_CLOUD_ROLE_ARN")
    oidc_provider_arn: Name = Field(None, alias="ALIBABA_CLOUD_OIDC_PROVIDER_ARN")
    oidc_token_file: TokenFile = Field(None, alias="ALIBABA_CLOUD_OIDC_TOKEN_FILE")
    role_session_name: SessionName = Field("relay", alias="ALIBABA_CLOUD_ROLE_SESSION_NAME")
    sts_region: Region = Field(None, alias="ALIBABA_CLOUD_STS_REGION")
    vpc_endpoint: Flag = Field(False, alias="ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED")
    ecs_role: EcsRole = Field(None, alias="ALIBABA_CLOUD_ECS_METADATA")
    upstream_url: UpstreamUrl = Field("https://vod.cn-shanghai.aliyuncs.com", alias="RELAY_UPSTREAM_URL")
    upstream_rate: UpstreamRate = Field(10.0, alias="RELAY_UPSTREAM_RATE")
    upstream_signature: Signature = Field("v3", alias="RELAY_UPSTREAM_SIGNATURE")
    master_keys: MasterKeys = Field(KeyRing(), alias="RELAY_MASTER_KEY")
    admin_token: Secret = Field(None, alias="RELAY_ADMIN_TOKEN")
    callback_allow: Networks = Field((), alias="RELAY_CALLBACK_ALLOW")
    callback_schemes: Schemes = Field(("https",), alias="RELAY_CALLBACK_SCHEMES")
    retry_schedule: RetrySchedule = Field(DEFAULT_SCHEDULE, alias="RELAY_RETRY_SCHEDULE")
    attempt_timeout: AttemptTimeout = Field(15.0, alias="RELAY_ATTEMPT_TIMEOUT")
    lease_seconds: Lease = Field(60.0, alias="RELAY_LEASE_SECONDS")
    max_in_flight_asked: Transfers = Field(1000, alias="RELAY_MAX_IN_FLIGHT")
    open_files: int = Field(1024, ge=1)
    callback_ca_file: CaFile = Field(None, alias="RELAY_CALLBACK_CA_FILE")
    dns_servers: DnsServers = Field((), alias="RELAY_DNS_SERVERS")
    missing_grace: Grace = Field(600.0, alias="RELAY_MISSING_GRACE")
    vod_callback_url: VodUrl = Field(None, alias="RELAY_VOD_CALLBACK_URL")
    vod_callback_keys: VodKeys = Field(CallbackKeys(), alias="RELAY_VOD_CALLBACK_KEY")
    metrics_addr: Address = Field(None, alias="RELAY_METRICS_ADDR")
    log_format: LogFormat = Field("auto", alias="RELAY_LOG_FORMAT")
    retention_days: Days = Field(30.0, alias="RELAY_RETENTION_DAYS")
    port: Port = Field(8000, alias="PORT")
    web_concurrency: Workers = Field(None, alias="WEB_CONCURRENCY")

    @property
    def max_in_flight(self) -> int:
        """Transfers at once in one dispatcher: what was asked for, bounded by the open-files limit."""
        return max(1, min(self.max_in_flight_asked, (self.open_files - OWN_FILES) * 3 // 4))

    @property
    def max_connections(self) -> int:
        """Connections to receivers that one dispatcher keeps idle, beside those that are busy.

        Twice its transfers, as far as the open-files limit goes: with fewer, hosts in turn push
        each other's connections out, and opening one costs more than a delivery.
        """
        return max(1, min(2 * self.max_in_flight, self.open_files - OWN_FILES - self.max_in_flight))

    @field_validator("access_key_secret")
    @classmethod
    def _key_is_whole(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "access_key_id" in info.data and (secret is None) != (info.data["access_key_id"] is None):
            raise Wrong("and ALIBABA_CLOUD_ACCESS_KEY_ID belong together; set both or neither")
        return secret

    @field_validator("security_token")
    @classmethod
    def _token_has_a_key(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if token and info.data.get("access_key_id", token) is None:
            raise Wrong("is set without the ALIBABA_CLOUD_ACCESS_KEY_ID that it belongs to")
        return token

    @field_validator("oidc_token_file")
    @classmethod
    def _role_is_whole(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        """Judged only where the role would be used: a static key stands before it."""
        others = [info.data[name] for name in ("role_arn", "oidc_provider_arn") if name in info.data]
        is_used = info.data.get("access_key_id", "") is None and len(others) == 2
        if is_used and len({value is None for value in (file, *others)}) == 2:
            raise Wrong(
                "and ALIBABA_CLOUD_ROLE_ARN and ALIBABA_CLOUD_OIDC_PROVIDER_ARN belong together;"
                " set all three or none"
            )
        return file

    @field_validator("vod_callback_keys")
    @classmethod
    def _provider_events_are_complete(cls, ring: CallbackKeys, info: ValidationInfo) -> CallbackKeys:
        if "vod_callback_url" in info.data and bool(ring.keys) != bool(info.data["vod_callback_url"]):
            raise Wrong("and RELAY_VOD_CALLBACK_URL belong together; set both or neither")
        return ring

    @field_validator("master_keys")
    @classmethod
    def _shared_database_has_a_key(cls, ring: KeyRing, info: ValidationInfo) -> KeyRing:
        url = info.data.get("database_url")
        if not ring.keys and url is not None and not url.get_secret_value().startswith("sqlite:"):
            raise Wrong(
                "must be set, as DATABASE_URL is not SQLite and every machine needs the same key;"
                " `openssl rand -base64 32` makes one"
            )
        return ring

    @field_validator("lease_seconds")
    @classmethod
    def _lease_outlives_the_attempt(cls, lease: float, info: ValidationInfo) -> float:
        if "attempt_timeout" in info.data and lease < info.data["attempt_timeout"] + LEASE_MARGIN:
            raise Wrong("must be at least RELAY_ATTEMPT_TIMEOUT + 15, or a delivery could be sent twice")
        return lease


NAMES = {str(field.alias): name for name, field in Settings.model_fields.items() if field.alias}
KNOWN = frozenset(NAMES)


def names_a_setting(variable: str) -> bool:
    """Whether an environment variable is read here, as it is or as the name of a file."""
    return variable in KNOWN or variable.removesuffix("_FILE") in KNOWN


def load(environ: Mapping[str, str], *, open_files: int | None = None) -> Settings:
    """Read the settings from `environ`; `open_files` is the process's own limit unless given.

    Raises:
        SettingsError: one sentence for each problem: the variable, what is wrong, what is allowed.
    """
    problems: list[str] = []
    values = _gather(environ, problems)
    if open_files is None:
        open_files = _open_files_limit()
    fields: dict[str, object] = {name: values[name] for name in NAMES if name in values}
    try:
        settings = Settings.model_validate(fields | {"open_files": open_files})
    except ValidationError as error:
        problems += _sentences(error)
    if problems:
        raise SettingsError(problems)
    return settings


def _gather(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Collect what is set, from variables and from files, and note unknown names."""
    values: dict[str, str] = {}
    for name, raw in environ.items():
        text = raw.strip()
        target = name.removesuffix("_FILE")
        if name in KNOWN:
            values.setdefault(name, text)
        elif target in KNOWN and text:
            if environ.get(target, "").strip():
                problems.append(f"{target} and {name} are both set; keep one of them.")
            else:
                values[target] = _read_file(name, text, problems)
        elif name.startswith("RELAY_") and not name.startswith(INJECTED):
            problems.append(_unknown(name))
    return {name: text for name, text in values.items() if text}


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
    close = difflib.get_close_matches(name, sorted(KNOWN), 1)
    advice = f"did you mean {close[0]}?" if close else "README.md lists those that are."
    return f"{ascii(name)[1:-1][:80]} is not a setting; {advice}"


def _open_files_limit() -> int:
    """The hard limit: what sends raises its own up to it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        cause = problem.get("ctx", {}).get("error")
        what = str(cause) if isinstance(cause, Wrong) else "can't be read; is it plain text?"
        yield f"{_variable(str(problem['loc'][0]))} {what}."


def _variable(loc: str) -> str:
    """Turn a field's name into its variable's: pydantic says the field's when the default was judged."""
    return str(Settings.model_fields[loc].alias) if loc in Settings.model_fields else loc


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting as (variable, value fit to be shown, note), in the order of the model."""
    return [
        (name, _shown(attribute, getattr(settings, attribute)), _note(attribute, settings))
        for name, attribute in NAMES.items()
    ]


def _note(attribute: str, settings: Settings) -> str:
    if attribute == "max_in_flight_asked" and settings.max_in_flight < settings.max_in_flight_asked:
        return f"but {settings.max_in_flight} by the open-files limit of {settings.open_files} (ulimit -Hn)"
    return "" if attribute in settings.model_fields_set else "default"


def _shown(attribute: str, value: object) -> str:
    if attribute == "database_url" and isinstance(value, SecretStr):
        return mask_database_url(value.get_secret_value())
    if isinstance(value, SecretStr) or (isinstance(value, KeyRing | CallbackKeys) and value.keys):
        return "(set)"
    if value in {None, (), KeyRing(), CallbackKeys()}:
        return "(not set)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_shown("", item) for item in value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def mask_database_url(url: str) -> str:
    """Show scheme, user, host and database; hide password and query, whatever strange form they have."""
    scheme, _, rest = url.partition("://")
    user_part, at, place = rest.rpartition("@")
    user = re.split(r"[:/?#]", user_part)[0]
    password = ":***" if user != user_part else ""
    return f"{scheme}://{user}{password}{at}{re.split(r'[?#]', place)[0]}"
