"""A running API for tests: the app behind a socket, and a client that speaks for one subscriber."""

import base64
import contextlib
import http.client
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from werkzeug.serving import make_server

from relay.api import create_app
from relay.api.context import AppContext
from relay.common.ids import NewId
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.settings import Settings, load
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import subscribers
from relay.subscribers.sql.subscribers import NewSubscriber
from tests.support.processes import Relay

ADMIN_TOKEN = "the-admin-token"


def settings_for_tests() -> Settings:
    settings = load({"RELAY_CALLBACK_SCHEMES": "http,https", "RELAY_CALLBACK_ALLOW": "127.0.0.0/8"})
    return settings.model_copy(update={"admin_token": SecretStr(ADMIN_TOKEN)})


def context_for_tests(store: Store, encryption: Encryption, settings: Settings | None = None) -> AppContext:
    return AppContext(settings or settings_for_tests(), store, Clock(store), encryption)


@contextlib.contextmanager
def serving(context: AppContext) -> Iterator[int]:
    """The port of an app with this context, until the block ends."""
    server = make_server("127.0.0.1", 0, create_app(context), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def web_process(database_url: str, folder: Path, config: str = "gunicorn.conf.py") -> Iterator[Relay]:
    """The web as the process that the Procfile starts, with this configuration of gunicorn."""
    settings = {
        "RELAY_MASTER_KEY": base64.b64encode(b"k" * 32).decode(),
        "RELAY_CALLBACK_SCHEMES": "https",
    }
    relay = Relay(database_url, "http://127.0.0.1:1", folder, settings, gunicorn_config=config)
    try:
        relay.start("web")
        yield relay
        relay.stop()
    finally:
        relay.end()


@dataclass(frozen=True, slots=True)
class Got:
    """A response; `json` is its body read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def pointers(self) -> list[str]:
        return [error["pointer"] for error in self.json["errors"]]


@dataclass(frozen=True, slots=True)
class Caller:
    """One subscriber that talks to the API, each request on a connection of its own."""

    port: int
    subscriber_id: str = ""
    api_key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        base = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        if body is not None:
            base["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, {**base, **(headers or {})})
            response = connection.getresponse()
            return Got(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Got:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None, key: str | None = None) -> Got:
        raw = None if body is None else json.dumps(body).encode()
        return self.send("POST", path, raw, {} if key is None else {"Idempotency-Key": key})

    def patch(self, path: str, body: Any) -> Got:
        return self.send("PATCH", path, json.dumps(body).encode())

    def delete(self, path: str) -> Got:
        return self.send("DELETE", path)

    def watch(self, **changes: Any) -> Got:
        """Post a watch on a new job, but for the changes."""
        body = {"job_id": new_job_id(), "callback_url": "https://hooks.example.com/a"}
        return self.post("/v1/watches", {**body, **changes})


def new_job_id() -> str:
    return secrets.token_hex(16)


def new_subscriber(store: Store, encryption: Encryption, new_id: NewId) -> NewSubscriber:
    name = f"test {secrets.token_hex(8)}"
    return store.write(subscribers.add, name, encryption, Clock(store).now(), new_id)


def new_caller(port: int, store: Store, encryption: Encryption, new_id: NewId) -> Caller:
    """A caller for a subscriber of its own."""
    made = new_subscriber(store, encryption, new_id)
    return Caller(port, made.id, made.api_key, made.secret)
