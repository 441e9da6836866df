"""Stand-ins for STS and the ECS metadata service on one real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event, Thread
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from relay.sandbox.server import listen

ROLE_ARN = "acs:ram::1234567890123456:role/relay"
PROVIDER_ARN = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1"
ROLE_NAME = "relay-role"
SECRET = "hush-key-secret"
SECURITY_TOKEN = "hush-CAISfakeTok+en/=="
METADATA_TOKEN = "hush-metadata-token"


@dataclass
class Stand:
    """What the stand-ins answer, and what they were asked."""

    url: str = ""
    oidc_token: str = "hush-oidc-token"
    life: float = 3600
    ahead: timedelta = timedelta(0)
    """How far its clock is ahead of the machine's."""
    failure: ResponseReturnValue | None = None
    """Answered instead of credentials, while set."""
    given: int = 0
    """How many credentials were given; the last ones' key id ends with this number."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    open: Event = field(default_factory=Event)
    """While cleared, nothing is answered."""

    def __post_init__(self) -> None:
        self.open.set()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def credentials(self) -> dict[str, str]:
        self.given += 1
        ends_at = self.now() + timedelta(seconds=self.life)
        return {
            "AccessKeyId": f"STS.key{self.given}",
            "AccessKeySecret": SECRET,
            "SecurityToken": SECURITY_TOKEN,
            "Expiration": ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def assume_role(self) -> ResponseReturnValue:
        self.note()
        if self.failure is not None:
            return self.failure
        if request.args.get("Action") != "AssumeRoleWithOIDC" or request.args.get("Version") != "2015-04-01":
            return {"Code": "InvalidAction.NotFound", "Message": "no such action"}, 404
        if (request.form.get("RoleArn"), request.form.get("OIDCProviderArn")) != (ROLE_ARN, PROVIDER_ARN):
            return {"Code": "EntityNotExist.Role", "Message": "no such role"}, 404
        if request.form.get("OIDCToken") != self.oidc_token:
            echo = f"This JWT is not valid: {request.form.get('OIDCToken')}"
            return {"RequestId": "R", "Code": "AuthenticationFail.OIDCToken.Invalid", "Message": echo}, 400
        assumed = {"AssumedRoleId": "3", "Arn": f"{ROLE_ARN}/{request.form['RoleSessionName']}"}
        return {"RequestId": "R", "AssumedRoleUser": assumed, "Credentials": self.credentials()}

    def token(self) -> ResponseReturnValue:
        self.note()
        if not 1 <= int(request.headers["X-aliyun-ecs-metadata-token-ttl-seconds"]) <= 21_600:
            return "bad ttl", 400
        return METADATA_TOKEN

    def role(self) -> ResponseReturnValue:
        return self.with_token(ROLE_NAME)

    def role_credentials(self, name: str) -> ResponseReturnValue:
        if name != ROLE_NAME:
            return self.with_token("not found", 404)
        if self.failure is not None:
            return self.with_token(self.failure)
        return self.with_token(
            {**self.credentials(), "Code": "Success", "LastUpdated": "2020-01-01T00:00:00Z"}
        )

    def with_token(self, answer: Any, status: int = 200) -> ResponseReturnValue:
        """Only the hardened mode: without the token of a PUT there is nothing."""
        self.note()
        if request.headers.get("X-aliyun-ecs-metadata-token") != METADATA_TOKEN:
            return "forbidden", 403
        return answer if isinstance(answer, tuple) else (answer, status)

    def note(self) -> None:
        self.asked.append(
            {"method": request.method, "path": request.full_path, "form": request.form.to_dict()}
        )
        assert self.open.wait(30)


@contextmanager
def running_stand() -> Iterator[Stand]:
    """Run STS and the metadata service on one free port."""
    stand = Stand()
    app = Flask("stand", static_folder=None)
    app.add_url_rule("/", view_func=stand.assume_role, methods=["POST"])
    app.add_url_rule("/latest/api/token", view_func=stand.token, methods=["PUT"])
    place = "/latest/meta-data/ram/security-credentials/"
    app.add_url_rule(place, view_func=stand.role)
    app.add_url_rule(f"{place}<name>", view_func=stand.role_credentials)

    @app.after_request
    def date(response: Response) -> Response:
        response.headers["Date"] = format_datetime(stand.now().replace(microsecond=0), usegmt=True)
        return response

    server = listen(app, "127.0.0.1", 0)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stand.url = f"http://127.0.0.1:{server.port}"
    try:
        yield stand
    finally:
        stand.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
