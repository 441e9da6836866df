"""Refuses the calls that the provider would refuse, by action, key, time, signature, nonce and ids.

Codes and their order follow the provider's gateway. A nonce is remembered for as long as its
timestamp is valid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from threading import Lock

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.signing import Credentials
from relay.sandbox.signature_check import read_v3_authorization, verify_v1, verify_v3

# Of a request's timestamp, either way; the provider's documented value.
TOLERANCE: Micros = 15 * 60 * US_PER_SECOND


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came: `headers` in lower case, `query` and `form` decoded."""

    method: str
    headers: dict[str, str]
    query: dict[str, str]
    form: dict[str, str]
    body: bytes

    @property
    def is_v3(self) -> bool:
        """Whether it is signed in its headers; else it is V1, signed in its parameters."""
        return "authorization" in self.headers

    @property
    def params(self) -> dict[str, str]:
        """All parameters, wherever they came."""
        return self.query | self.form

    @property
    def job_ids(self) -> list[str]:
        """The ids whose jobs the call asks for."""
        return [job_id for part in self.params.get("JobIds", "").split(",") if (job_id := part.strip())]

    @property
    def wants_json(self) -> bool:
        """`Format` decides, then `Accept`; without either, V1 answers XML and V3 JSON."""
        if "Format" in self.params:
            return self.params["Format"].lower() == "json"
        accept = self.headers.get("accept", "")
        return "json" in accept or (self.is_v3 and "xml" not in accept)

    @property
    def access_key_id(self) -> str:
        """The id of the key that signed, "" if none is named."""
        authorization = read_v3_authorization(self.headers.get("authorization", ""))
        return authorization.access_key_id if authorization else self.params.get("AccessKeyId", "")

    def common(self, v3_header: str, v1_param: str) -> str:
        """A common parameter: V3 has it in a header, V1 among the parameters."""
        return self.headers.get(v3_header, "") if self.is_v3 else self.params.get(v1_param, "")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer of the provider."""

    status: int
    code: str
    message: str


class AuthCheck:
    """Checks calls against one key; threads may share it."""

    def __init__(self, credentials: Credentials, clock: Callable[[], Micros]) -> None:
        self._credentials = credentials
        self._clock = clock
        self._lock = Lock()
        self._nonces: dict[str, Micros] = {}
        self._checks = (
            self._check_action,
            self._check_key,
            self._check_time,
            self._check_signature,
            self._check_nonce,
            _check_ids,
        )

    def refuse(self, call: Call) -> Failure | None:
        """Why the provider would refuse a call; None if it would answer."""
        return next((failure for check in self._checks if (failure := check(call))), None)

    def _check_action(self, call: Call) -> Failure | None:
        if call.common("x-acs-action", "Action") != "ListAIJob":
            return Failure(404, "InvalidAction.NotFound", "Specified api is not found.")
        if call.common("x-acs-version", "Version") != "2017-03-21":
            return Failure(400, "InvalidVersion", "Specified parameter Version is not valid.")
        return None

    def _check_key(self, call: Call) -> Failure | None:
        if not call.access_key_id:
            return Failure(400, "MissingAccessKeyId", "AccessKeyId is mandatory for this action.")
        if call.access_key_id != self._credentials.access_key_id:
            return Failure(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        token = call.common("x-acs-security-token", "SecurityToken")
        if not compare_digest(token.encode(), (self._credentials.security_token or "").encode()):
            return Failure(400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
        return None

    def _check_time(self, call: Call) -> Failure | None:
        try:
            written = datetime.strptime(call.common("x-acs-date", "Timestamp"), "%Y-%m-%dT%H:%M:%S%z")
        except ValueError:
            return Failure(400, "InvalidTimeStamp.Format", "Specified time stamp is not well formatted.")
        signed_at = round(written.timestamp()) * US_PER_SECOND
        if abs(self._clock() - signed_at) > TOLERANCE:
            return Failure(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        return None

    def _check_signature(self, call: Call) -> Failure | None:
        secret = self._credentials.access_key_secret
        if call.is_v3:
            is_valid = verify_v3(
                method=call.method, params=call.query, headers=call.headers, body=call.body, secret=secret
            )
        else:
            is_valid = verify_v1(method=call.method, params=call.params, secret=secret)
        if not is_valid:
            message = "Specified signature is not matched with our calculation."
            return Failure(400, "SignatureDoesNotMatch", message)
        return None

    def _check_nonce(self, call: Call) -> Failure | None:
        nonce = call.common("x-acs-signature-nonce", "SignatureNonce")
        with self._lock:
            self._forget_old_nonces()
            if nonce in self._nonces:
                return Failure(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
            self._nonces[nonce] = self._clock()
        return None

    def _forget_old_nonces(self) -> None:
        # A timestamp may be ahead by the tolerance at first, and is valid until it is behind by it.
        oldest_valid = self._clock() - 2 * TOLERANCE
        while self._nonces and self._nonces[first := next(iter(self._nonces))] < oldest_valid:
            del self._nonces[first]


def _check_ids(call: Call) -> Failure | None:
    if not call.job_ids:
        return Failure(400, "MissingJobIds", "JobIds is mandatory for this action.")
    if len(call.job_ids) > 10:
        return Failure(400, "InvalidParameter.JobIds", "JobIds holds at most 10 ids.")
    return None
