"""Database servers of a test's own, which it may crash and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import pytest

from tests.sql.conftest import answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Server(Protocol):
    """A server that one may crash."""

    url: str

    def start(self) -> None: ...

    def stop(self, *, crashes: bool) -> None: ...


class PostgreSQL:
    """A cluster of its own. Crashed, it has to recover from its log."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("initdb") or next(
            map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None
        )
        if binary is None:
            pytest.skip("no PostgreSQL is installed")
        self._bin, self._data, self._port = Path(binary).parent, folder / "data", free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "--pgdata", str(self._data), "--auth=trust", "--username=postgres", "--no-sync")

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--pgdata", str(self._data), "--options", options, "--log=/dev/null")

    def stop(self, *, crashes: bool) -> None:
        mode = "immediate" if crashes else "fast"
        self._run("pg_ctl", "stop", "--wait", "--pgdata", str(self._data), "--mode", mode)

    def _run(self, program: str, *args: str) -> None:
        command = [str(self._bin / program), *args]
        subprocess.run(command, check=True, user=user("postgres"), stdout=subprocess.DEVNULL, cwd="/")


class MariaDB:
    """A server over a folder of its own. Crashed, it has to recover from its log."""

    def __init__(self, folder: Path) -> None:
        self._server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
        if self._server is None or install is None:
            pytest.skip("no MariaDB is installed")
        self._port, self._process = free_port(), cast("subprocess.Popen[bytes] | None", None)
        self._options = ["--no-defaults", f"--datadir={folder}/data"]
        self.url = f"mysql+pymysql://root@127.0.0.1:{self._port}/mysql"
        command = [install, *self._options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(command, check=True, user=user("mysql"), stdout=subprocess.DEVNULL)
        self._options += [f"--socket={folder}/socket", "--bind-address=127.0.0.1", f"--port={self._port}"]

    def start(self) -> None:
        command: Sequence[str] = [str(self._server), *self._options, "--innodb-flush-log-at-trx-commit=2"]
        none = subprocess.DEVNULL
        self._process = subprocess.Popen(command, user=user("mysql"), stdout=none, stderr=none)
        deadline = time.monotonic() + 60
        while not answers(self.url) and time.monotonic() < deadline:
            time.sleep(0.1)

    def stop(self, *, crashes: bool) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if crashes else signal.SIGTERM)
            self._process.wait(60)


def user(name: str) -> str | None:
    """Return who is to run a server: it refuses to run as root."""
    return name if os.geteuid() == 0 else None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def server(kind: str) -> Iterator[Server]:
    """Run a server of a kind, in a folder that its user may enter."""
    folder = Path(tempfile.mkdtemp())
    try:
        if (who := user({"postgresql": "postgres", "mariadb": "mysql"}[kind])) is not None:
            shutil.chown(folder, who)
        found: Server = PostgreSQL(folder) if kind == "postgresql" else MariaDB(folder)
        found.start()
        try:
            yield found
        finally:
            found.stop(crashes=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
