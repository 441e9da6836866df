"""What `./dev run` does: runs the relay on one machine.

It migrates, keeps the processes of the Procfile running, creates an API key, prints what to do
next, and stops all processes at Ctrl-C or SIGTERM. If no provider credentials are set, a sandbox
runs in the provider's place.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import requests

from relay.sandbox.listaijob import ACCESS_KEY_ID, ACCESS_KEY_SECRET
from relay.sandbox.processes import Process, Screen, read_procfile, stop_all

STATE = Path(".relay")
KEY_FILE = STATE / "dev-key.json"
GRACE = 25.0  # seconds for a drain: an attempt's whole time (15), its recording, and a margin
READY_NOTE = 60.0  # seconds after which a note says that the start is slow
PATHS = ("/healthz", "/readyz", "/metrics")
CREDENTIALS = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_ECS_METADATA",
)
OUTSIDE = ("RELAY_UPSTREAM_URL_FILE", "ALIBABA_CLOUD_SECURITY_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN_FILE")
DEFAULTS = {
    "RELAY_CALLBACK_SCHEMES": "http,https",
    "RELAY_CALLBACK_ALLOW": "127.0.0.0/8,::1/128",
    "RELAY_LOG_FORMAT": "text",
    "PYTHONUNBUFFERED": "1",
}

screen = Screen()
http = requests.Session()
http.trust_env = False  # loopback is never behind a proxy


def main() -> int:
    """Run until told to stop; 0 after a clean stop."""
    signal.signal(signal.SIGINT, _interrupt)  # a shell starts what it puts behind with SIGINT ignored
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    port = choose_port(os.environ.get("PORT", ""))
    sandbox_port = None if has_credentials(os.environ) else free_port()
    environ = environment(os.environ, port, sandbox_port)
    commands = read_procfile(Path("Procfile").read_text(encoding="utf-8"))
    released = subprocess.run(commands.pop("release"), env=environ, check=False)  # noqa: S603 - our Procfile
    if released.returncode != 0:
        return released.returncode
    if sandbox_port is not None:
        screen.show(
            "No provider credentials are set, so a sandbox plays the provider: no call leaves this machine."
        )
        commands = {"sandbox": ["python", "-m", "relay", "sandbox", "--port", str(sandbox_port)]} | commands
    return attend(
        [Process(name, command, environ, screen) for name, command in commands.items()], environ, port
    )


def attend(processes: Sequence[Process], environ: Mapping[str, str], port: int) -> int:
    """Start the processes, print the greeting once they are ready, and stop them when told to."""
    base = f"http://127.0.0.1:{port}"
    try:
        for process in processes:
            process.start()
        wait_until_ready(base)
        screen.show(greeting(base, ensure_key(base, environ), environ))
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.show("\nStopping: what is in flight is finished first. Once more Ctrl-C stops at once.")
    return stop(processes)


def stop(processes: Sequence[Process]) -> int:
    """Stop all, the sandbox last, as the poller may still be asking it."""
    sandbox = [process for process in processes if process.name == "sandbox"]
    others = [process for process in processes if process.name != "sandbox"]
    try:
        clean = stop_all(others, GRACE) and stop_all(sandbox, 5.0)
    except KeyboardInterrupt:
        clean = False
    for process in processes:
        process.kill()
    screen.show(
        "Stopped." if clean else "Stopped at once; what was in flight is sent again at the next start."
    )
    return 0 if clean else 1


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


# Ports and settings.


def choose_port(wanted: str) -> int:
    """Take PORT, or the first free port from 8000 up.

    Raises:
        SystemExit: PORT was asked for and is taken or no port.
    """
    if wanted:
        if not (wanted.isdecimal() and 0 < int(wanted) < 65_536):
            sys.exit("PORT must be a whole number from 1 to 65535.")
        if not is_free(int(wanted)):
            sys.exit(f"Port {wanted} is in use, perhaps by another ./dev run. Choose another with PORT.")
        return int(wanted)
    port = next(filter(is_free, range(8000, 8100)), None)
    if port is None:
        sys.exit("No port from 8000 to 8099 is free. Choose one with PORT.")
    if port != 8000:
        screen.show(f"Port 8000 is in use, so this is port {port}; PORT chooses another.")
    return port


def is_free(port: int) -> bool:
    """Whether the web can listen on the port."""
    try:
        socket.create_server(("0.0.0.0", port)).close()  # noqa: S104 - as gunicorn.conf.py does
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port on loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def has_credentials(environ: Mapping[str, str]) -> bool:
    """Whether any credentials of the provider are set, be they right or wrong."""
    return any(environ.get(name) or environ.get(f"{name}_FILE") for name in CREDENTIALS)


def environment(given: Mapping[str, str], port: int, sandbox_port: int | None) -> dict[str, str]:
    """Add the defaults for a developer's machine and, with a sandbox, its address and key."""
    environ = {name: value for name, value in given.items() if value}
    for name, value in DEFAULTS.items():
        if f"{name}_FILE" not in environ:
            environ.setdefault(name, value)
    environ["PORT"] = str(port)
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}"
    if sandbox_port is not None:
        for name in OUTSIDE:
            environ.pop(name, None)
        environ["RELAY_UPSTREAM_URL"] = f"http://127.0.0.1:{sandbox_port}"
        environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = ACCESS_KEY_ID
        environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = ACCESS_KEY_SECRET
    return environ


# The API, as a caller sees it.


def wait_until_ready(base: str) -> None:
    """Wait until /readyz answers 200; a slow start gets one note."""
    slow_at = time.monotonic() + READY_NOTE
    while status_of(f"{base}/readyz") != 200:
        if time.monotonic() > slow_at:
            screen.show(f"{base}/readyz is not ready yet; the lines above should say why. Still waiting.")
            slow_at = float("inf")
        time.sleep(0.1)


def status_of(url: str, api_key: str | None = None) -> int | None:
    """The status that a GET is answered with; None if nobody answers."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        return http.get(url, headers=headers, timeout=5).status_code
    except requests.RequestException:
        return None


def ensure_key(base: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The stored subscriber if the database knows its key, else a new one, stored from now on."""
    stored = read_key()
    if stored and status_of(f"{base}/v1/watches?limit=1", stored["api_key"]) != 401:
        return stored
    for name in ("dev", f"dev-{int(time.time())}"):  # `dev` is taken where only the key's file was lost
        command = [sys.executable, "-m", "relay", "subscriber", "add", name]
        added = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if added.returncode == 0:
            return store_key(json.loads(added.stdout))
    screen.show(f"No API key could be made: {added.stderr.strip()}")
    return {"id": "", "api_key": "YOUR_API_KEY", "secret": "YOUR_SECRET"}


def read_key() -> dict[str, str] | None:
    """The key of the last run; None if there is none, or an unreadable one."""
    try:
        stored = json.loads(KEY_FILE.read_text(encoding="utf-8"))
        return {name: str(stored[name]) for name in ("id", "api_key", "secret")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store_key(key: dict[str, str]) -> dict[str, str]:
    """Keep the key for the next run, for this user's eyes only."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    KEY_FILE.unlink(missing_ok=True)
    KEY_FILE.touch(mode=0o600, exist_ok=False)
    KEY_FILE.write_text(json.dumps(key), encoding="utf-8")
    return key


def greeting(base: str, key: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The addresses, the API key, and commands to paste that show the relay at work."""
    upstream = environ.get("RELAY_UPSTREAM_URL", "https://vod.cn-shanghai.aliyuncs.com")
    sandboxed = environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID") == ACCESS_KEY_ID
    job_id = f"sandbox-tag-success-5s-{secrets.token_hex(4)}" if sandboxed else "YOUR_JOB_ID"
    headers = f"-H 'Authorization: Bearer {key['api_key']}' -H 'Content-Type: application/json'"
    watch = json.dumps({"job_id": job_id, "callback_url": "http://127.0.0.1:9000/hook"})
    kept = f"   (kept in {KEY_FILE})" if KEY_FILE.exists() else ""
    return "\n".join(
        [
            "",
            "Relay is ready.",
            f"  API        {base}/v1",
            *(f"             {base}{path}" for path in PATHS),
            f"  {'Sandbox' if sandboxed else 'Provider':<10} {upstream}",
            f"  API key    {key['api_key']}{kept}",
            "",
            "In a second terminal, receive webhooks:",
            f"  .venv/bin/python -m relay listen --port 9000 --secret {key['secret']}",
            "",
            "In a third, ask for one:",
            f"  curl {base}/v1/watches {headers} -d '{watch}'",
            "",
            "Ctrl-C stops everything.",
            "",
        ]
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before anything was started
        sys.exit(130)
