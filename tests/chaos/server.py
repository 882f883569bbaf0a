"""A PostgreSQL server of one run of the suite, on a separate small disk where possible."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.servers import OwnPostgres

DISK_MEGABYTES: Final = 300
FILL_BYTES: Final = 1_000_000


class Server:
    """A server that can be stopped, made read-only, and run out of disk space."""

    def __init__(self, disk: Path, *, is_small: bool) -> None:
        """Start a server in a directory; `is_small` if that is a disk to be filled."""
        self.is_small = is_small
        self._postgres = OwnPostgres(disk / "data")
        self._filler = disk / "filler"
        self._copy = disk / "copy"
        self.url = self._postgres.url

    def stop(self) -> None:
        """Stop the server immediately, without a shutdown."""
        self._postgres.stop()

    def start(self) -> None:
        """Start it again."""
        self._postgres.start()

    def refuse_writes(self) -> None:
        """Make every transaction read-only."""
        self._postgres.set("default_transaction_read_only", "on")

    def accept_writes(self) -> None:
        """Accept writes again."""
        self._postgres.set("default_transaction_read_only", "off")

    def fill_disk(self) -> None:
        """Fill the disk; the server may stop."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (FILL_BYTES, 1_000, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free_disk(self) -> None:
        """Free the disk, and start the server if it has stopped."""
        self._filler.unlink()
        self._postgres.start()

    def copy(self) -> None:
        """Copy the cluster for a later rollback."""
        self._postgres.copy(self._copy)

    def roll_back(self) -> None:
        """Restore the copy while processes are connected."""
        self._postgres.restore(self._copy)

    def remove(self) -> None:
        """Stop the server and remove its directory."""
        self._filler.unlink(missing_ok=True)
        self._postgres.remove()


@contextmanager
def own_server() -> Iterator[Server]:
    """Provide a server; its disk can be filled if the user may mount a tmpfs."""
    with tempfile.TemporaryDirectory(
        prefix="pg-"
    ) as directory:  # a short path: a socket
        disk = Path(directory) / "disk"
        disk.mkdir()
        size = f"size={DISK_MEGABYTES}m,mode=0755"
        mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
        is_small = (
            os.geteuid() == 0
            and not subprocess.run(mount, check=False, capture_output=True).returncode
        )
        server = Server(disk, is_small=is_small)
        try:
            yield server
        finally:
            server.remove()
            if is_small:
                subprocess.run(["umount", "--lazy", str(disk)], check=True)
