"""Database servers of a test's own, to be stopped and started at will, and a disk that can be full.

The servers may crash, the machine does not: nothing waits for the disk.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from relay.db import migrate
from relay.db.dialects import driver_url
from tests.support.processes import free_port, wait_until


@dataclass
class Server:
    """A server with one migrated database, `relay`, which clients reach at `url`."""

    scheme: str
    owner: str
    client: str
    folder: Path
    command: Sequence[str]
    user: str | None
    port: int
    crash_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.client}@127.0.0.1:{self.port}/relay"

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, user=self.user)
        wait_until(self._answers, 30, "the server answers")

    def crash(self) -> None:
        """End it without a word to its clients; the next start recovers."""
        if self.process is not None:
            self.process.send_signal(self.crash_signal)
            self.process.wait(30)
            self.process = None

    def run(self, *statements: str, database: str = "") -> None:
        """Run statements as the server's owner, each by itself."""
        with self._owned(database) as engine, engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def _answers(self) -> bool:
        try:
            self.run("SELECT 1")
        except Exception:  # noqa: BLE001 - it is not there yet, in whatever way
            return False
        return True

    @contextlib.contextmanager
    def _owned(self, database: str) -> Iterator[Engine]:
        url = driver_url(f"{self.scheme}://{self.owner}@127.0.0.1:{self.port}/{database}")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            yield engine
        finally:
            engine.dispose()


@contextlib.contextmanager
def private_server(kind: str) -> Iterator[Server]:
    """A running server of this kind, removed afterwards; skips the test if it is not installed."""
    with tempfile.TemporaryDirectory(prefix="relay-server-") as name:
        server = _postgresql(Path(name)) if kind == "postgresql" else _mariadb(Path(name))
        try:
            server.start()
            _make_database(server)
            yield server
        finally:
            server.crash()


def _postgresql(folder: Path) -> Server:
    programs = _program("initdb").parent
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data, port = folder / "data", free_port()
    make = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
    settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off")
    options = [part for setting in settings for part in ("-c", setting)]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
    return Server("postgresql", "postgres", "postgres", folder, command, user, port, signal.SIGQUIT)


def _mariadb(folder: Path) -> Server:
    data, port = folder / "data", free_port()
    me = pwd.getpwuid(os.geteuid()).pw_name
    common = ["--no-defaults", f"--user={me}", f"--datadir={data}"]
    make = [str(_program("mariadb-install-db")), *common, "--auth-root-authentication-method=normal"]
    subprocess.run(make, check=True, capture_output=True, cwd=folder)
    place = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"]
    quick = ["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0"]
    command = [str(_program("mariadbd")), *common, *place, *quick]
    return Server("mysql", "root", "app", folder, command, None, port, signal.SIGKILL)


def _program(name: str) -> Path:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"there is no {name} on this machine")
    return Path(found).resolve()


def _make_database(server: Server) -> None:
    server.run("CREATE DATABASE relay")
    if server.scheme == "mysql":  # its owner may write even where everything is read-only
        server.run("CREATE USER app@'127.0.0.1'", "GRANT ALL ON relay.* TO app@'127.0.0.1'")
    migrate.upgrade(server.url)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 8 MiB; skips the test where none can be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Use up every byte that is left; returns the file that does."""
    path = disk / "ballast"
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(size))
    return path
