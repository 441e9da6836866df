"""Fetches temporary credentials of a RAM role.

    oidc_role  AssumeRoleWithOIDC at STS with a pod's token (RRSA); its file is read at each call,
               as the kubelet replaces it
    ecs_role   the instance's metadata service, in session-token mode only: the older mode, without
               a token, can be abused through a server that can be made to fetch a URL

When they end is judged by the answer's own `Date`, so that a wrong clock here costs nothing.
Reasons quote nothing of an answer but its error code, when it looks like one.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import requests

from relay import __version__
from relay.common.errors import UnreadableAnswer
from relay.provider.list_ai_job.bounded_call import fetch, what_failed
from relay.provider.list_ai_job.credentials import Fetch, NotGiven, Temporary
from relay.provider.list_ai_job.rules.decoder import read_document
from relay.provider.list_ai_job.rules.signing import Credentials, timestamp
from relay.provider.list_ai_job.session import CancellableSession, Request, Response

METADATA_URL = "http://100.100.100.200"  # link-local: answers only from within an ECS instance
TIMEOUT = 10.0  # seconds of one whole call
MAX_BYTES = 65_536  # of an answer; the provider's have about 2,000
ROLE_SECONDS = 3_600  # that a role is taken for; every role allows this
TOKEN_SECONDS = 60  # that a metadata token is good for: longer than the call that it is for


def sts_url(region: str | None, *, vpc: bool) -> str:
    """The URL of STS: the central one, or the region's, or the one inside a VPC of the region."""
    place = f".{region}" if region else ""
    return f"https://sts{'-vpc' if vpc and region else ''}{place}.aliyuncs.com"


def oidc_role(
    url: str,
    *,
    role_arn: str,
    provider_arn: str,
    token_file: Path,
    session_name: str,
    timeout: float = TIMEOUT,
) -> Fetch:
    """Make a fetcher that takes a role at STS with a pod's token; `url` is its scheme and host."""

    def ask() -> Temporary | NotGiven:
        try:
            with token_file.open(encoding="ascii") as file:
                token = file.read(MAX_BYTES).strip()
        except (OSError, ValueError):
            return NotGiven("The file that ALIBABA_CLOUD_OIDC_TOKEN_FILE names can't be read.")
        answer = _call(_assume_role(url, role_arn, provider_arn, token, session_name), "STS", timeout)
        return answer if isinstance(answer, NotGiven) else _read(answer, "STS", "Credentials")

    return ask


def _assume_role(url: str, role_arn: str, provider_arn: str, token: str, session_name: str) -> Request:
    """AssumeRoleWithOIDC: the token stands for a signature, and is sent in the body."""
    common = {
        "Action": "AssumeRoleWithOIDC",
        "Version": "2015-04-01",
        "Format": "JSON",
        "Timestamp": timestamp(time.time_ns() // 1000),
    }
    form = {
        "RoleArn": role_arn,
        "OIDCProviderArn": provider_arn,
        "OIDCToken": token,
        "RoleSessionName": session_name,
        "DurationSeconds": str(ROLE_SECONDS),
    }
    headers = _headers({"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"})
    return Request(f"{url}/?{urlencode(common)}", headers, "POST", urlencode(form).encode())


def ecs_role(role: str | None, *, url: str = METADATA_URL, timeout: float = TIMEOUT) -> Fetch:
    """Make a fetcher of the instance's credentials; without a name, the service is asked for it."""
    place = f"{url}/latest/meta-data/ram/security-credentials/"

    def ask() -> Temporary | NotGiven:
        token = _text(Request(f"{url}/latest/api/token", _headers(_token_lifetime()), "PUT"), timeout)
        if isinstance(token, NotGiven):
            return token
        headers = _headers({"X-aliyun-ecs-metadata-token": token})
        name = role or _text(Request(place, headers), timeout)
        if isinstance(name, NotGiven):
            return name
        answer = _call(Request(place + quote(name, safe=""), headers), _METADATA, timeout)
        return answer if isinstance(answer, NotGiven) else _read(answer, _METADATA, None)

    return ask


_METADATA = "The metadata service"


def _token_lifetime() -> dict[str, str]:
    return {"X-aliyun-ecs-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}


def _headers(more: Mapping[str, str]) -> dict[str, str]:
    return {"User-Agent": f"relay/{__version__}", **more}


def _text(request: Request, timeout: float) -> str | NotGiven:
    """Ask the metadata service for a word: a token, or the role's name."""
    answer = _call(request, _METADATA, timeout)
    if isinstance(answer, NotGiven):
        return answer
    word = (answer.body or b"").decode("ascii", "replace").strip()
    if not re.fullmatch("[!-~]{1,4096}", word):
        return NotGiven(f"{_METADATA} gave no answer that can be used; has the instance a RAM role?")
    return word


def _call(request: Request, who: str, timeout: float) -> Response | NotGiven:
    """Do one call on a connection of its own; anything but a whole 200 is a reason."""
    session = CancellableSession()
    try:
        answer = fetch(session, request, seconds=timeout, max_bytes=MAX_BYTES, thread_name="role")
    except TimeoutError:
        return NotGiven(f"{who} ({_host(request)}) gave no whole answer within {timeout:g} s.")
    except requests.RequestException as error:
        return NotGiven(f"{who} ({_host(request)}) {what_failed(error)}.")
    session.cut()
    if answer.body is None:
        return NotGiven(f"{who} answered with more than {MAX_BYTES} bytes.")
    if answer.status != 200:
        return NotGiven(f"{who} refused with HTTP {answer.status}{_code(answer)}.")
    return answer


def _host(request: Request) -> str:
    return urlsplit(request.url).netloc


def _code(answer: Response) -> str:
    """The error code of a refusal, which is safe to show where it looks like one."""
    code = str(_document(answer).get("Code", ""))
    return f" ({code})" if re.fullmatch("[A-Za-z0-9._-]{1,100}", code) else ""


def _document(answer: Response) -> Mapping[str, object]:
    try:
        document = read_document(answer.headers.get("content-type"), answer.body or b"")
    except UnreadableAnswer:
        return {}
    return document if isinstance(document, dict) else {}


def _read(answer: Response, who: str, member: str | None) -> Temporary | NotGiven:
    """Read credentials and their end from an answer, or from a member of it."""
    document = _document(answer)
    holder = document if member is None else document.get(member)
    if not isinstance(holder, dict):
        return NotGiven(f"{who} answered without credentials{_code(answer)}.")
    texts = [str(holder.get(name, "")) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken")]
    if not all(re.fullmatch("[!-~]{1,8192}", text) for text in texts):
        return NotGiven(f"{who} answered without credentials that can be used{_code(answer)}.")
    try:
        ends_at = datetime.strptime(str(holder.get("Expiration")), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return NotGiven(f"{who} answered credentials without a time at which they end.")
    return Temporary(Credentials(*texts), (ends_at - _answered_at(answer)).total_seconds())


def _answered_at(answer: Response) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).replace(tzinfo=UTC)
    except ValueError:
        return datetime.now(UTC)
