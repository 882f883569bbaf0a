"""Fixtures of every test: separate settings, users, and no network but this machine.

Environment variables a run of the tests looks at:
    TEST_DATABASE       sqlite (default) or postgres, which starts a server of its own
    HYPOTHESIS_PROFILE  default, or thorough with 2,000 examples and more per property
    REQUIRE_BROWSER     1: a browser test fails, instead of skipping, without a browser
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support import servers
from tests.support.servers import HOME

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.test import Client

ENGINE = Path(__file__).parent / "engine"  # its tests need no Django, and get none
CRASH = Path(__file__).parent / "crash"
BROWSER = Path(__file__).parent / "browser"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # "" outside of xdist's workers

hypothesis.settings.register_profile("default", max_examples=50, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# Set-up -----------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Point the settings at a directory of this run before anything reads them."""
    if HOME not in os.environ:
        os.environ[HOME] = tempfile.mkdtemp(prefix="signalbox-tests-")
    home = Path(os.environ[HOME])
    os.environ["DATA_DIR"] = str(home / (WORKER or "main"))
    _choose_database(home)
    _handle_interrupts()
    _stay_at_home()
    if not all(Path(path).resolve().is_relative_to(ENGINE) for path in config.args):
        _configure_django()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import and list all tests without garbage collection, a quarter of the CPU time.

    What was made meanwhile stays until the end: later collections leave it out.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait for processes: short tests fill the time beside them.

    At the end of the run, one of them would keep a single worker busy for half a minute.
    The tests in the browser follow: other workers take tests from the end of the list, so
    that one worker runs them all, with one browser.
    """
    items.sort(
        key=lambda item: [
            not item.path.is_relative_to(home) for home in (CRASH, BROWSER)
        ]
    )


def pytest_unconfigure() -> None:
    """Remove what this run wrote; only the process that began it does."""
    if not WORKER:
        servers.stop_shared()
        shutil.rmtree(os.environ.pop(HOME), ignore_errors=True)


def _choose_database(home: Path) -> None:
    os.environ.pop("REDIS_URL", None)
    if os.environ.get("TEST_DATABASE", "sqlite") == "postgres":
        os.environ["DATABASE_URL"] = servers.shared_postgres(home)
        os.environ["DATABASE_POOL_SIZE"] = "0"  # so that databases can be dropped
    else:
        os.environ.pop("DATABASE_URL", None)


def _configure_django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    from django.conf import settings

    # A real hash takes a third of a second, on purpose; a test has no attacker.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    database = settings.DATABASES["default"]
    if database["ENGINE"] == settings.OURS:
        # The file need not survive a power failure. A process that was killed loses nothing.
        _replace(
            database["OPTIONS"], "init_command", "synchronous=FULL", "synchronous=OFF"
        )


def _replace(options: dict[str, str], name: str, old: str, new: str) -> None:
    assert old in options[name], f"{name} has no {old}: {options[name]}"
    options[name] = options[name].replace(old, new)


def _handle_interrupts() -> None:
    """Let servers of tests be interrupted also where a shell started us behind it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stay_at_home() -> None:
    """Refuse connections that leave this machine."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not _is_here(str(address[0])):
            raise PermissionError(f"A test tried to reach {address[0]}.")
        connect(self, address)

    setattr(socket.socket, "connect", connect_here)  # noqa: B010 - a method of C


def _is_here(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


# Servers for tests with several processes -------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """Return the address of a PostgreSQL server shared by the whole run."""
    return servers.shared_postgres(Path(os.environ[HOME]))


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the address of an empty PostgreSQL database of the test's own."""
    with servers.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def migrated_url(postgres_server: str) -> Iterator[str]:
    """Give the address of a PostgreSQL database of the test's own, with our tables."""
    template = servers.migrated_template(Path(os.environ[HOME]), postgres_server)
    with servers.fresh_database(postgres_server, template) as url:
        yield url


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Give the address of a Redis server of the test's own."""
    with servers.fresh_redis(tmp_path) as url:
        yield url


@pytest.fixture
def own_postgres() -> Iterator[servers.OwnPostgres]:
    """Give a PostgreSQL server that only this test uses, and may stop."""
    # its socket's path has to be short
    with tempfile.TemporaryDirectory(prefix="pg-") as home:
        server = servers.OwnPostgres(Path(home) / "data")
        try:
            yield server
        finally:
            server.remove()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[servers.OwnRedis]:
    """Give a Redis server that only this test uses, and may stop."""
    server = servers.OwnRedis(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser; without one the test is skipped with a message."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        reason = "There is no Chromium: install Debian's package `chromium`."
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def django_db_keepdb(
    django_db_keepdb: bool, django_db_modify_db_settings: None
) -> bool:
    """Start from a copy of a migrated database: migrating costs ten seconds of CPU.

    The copy of SQLite lies in the directory of this run, which is removed as a whole.
    """
    from django.conf import settings

    database, home = settings.DATABASES["default"], Path(os.environ[HOME])
    if database["ENGINE"] != settings.OURS:
        server = servers.shared_postgres(home)
        database["TEST"]["TEMPLATE"] = servers.unsealed_template(home, server)
        return django_db_keepdb
    copy = Path(database["TEST"]["NAME"])
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(servers.migrated_file(home), copy)
    servers.forget_start_of_sealing(copy)
    return True


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Make flushes cheap, and close the threads' connections so that databases can go."""
    from tests.support.flushing import copies_after_flush
    from workflows.infra.database_threads import close_connections

    with copies_after_flush():
        yield
    close_connections()


@pytest.fixture(autouse=True)
def no_outage_is_remembered() -> None:
    """Let an outage that a test makes mean nothing to the next."""
    if outages := sys.modules.get("workflows.infra.outages"):
        for outage in (
            outages.database,
            outages.changes,
            outages.messages,
            outages.storage,
        ):
            outage.reset()


@pytest.fixture(autouse=True)
def nobody_has_asked_too_often() -> None:
    """Forget how often people asked in other tests: their ids are given out again."""
    if rates := sys.modules.get("workflows.pages.rate_limits"):
        rates.own().storage.reset()


@pytest.fixture
def sealed(transactional_db: None) -> Iterator[None]:
    """Look at the end whether the history of each run is what was recorded."""
    from tests.support.sealed_runs import found_in_sealed_runs

    yield
    assert found_in_sealed_runs() == []


# The cast ---------------------------------------------------------------------------


@pytest.fixture
def alice(db: None) -> User:
    """Return Alice, a member: launches runs, watches and answers."""
    return _member("alice")


@pytest.fixture
def bob(db: None) -> User:
    """Return Bob, another member: sees the team's runs, launched none of them."""
    return _member("bob")


@pytest.fixture
def charlie() -> AnonymousUser:
    """Return Charlie, an outsider without an account: sees the sign-in page only."""
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()


@pytest.fixture
def admin(db: None) -> User:
    """Return the operator: may do everything, and reaches Django admin."""
    from django.contrib.auth.models import User

    return User.objects.create_superuser("admin", password="an admin's password")


@pytest.fixture
def recorded_workflow() -> Iterator[None]:
    """Register the workflow of tests/support/recorded_runs.py."""
    from tests.support import recorded_runs
    from workflows.registry import registry

    registry.register(recorded_runs.make_workflow())
    yield
    registry.unregister(recorded_runs.NAME)


@pytest.fixture
def sign_in(db: None) -> Callable[[User], Client]:
    """Return a function that gives a test client signed in as someone."""
    from django.test import Client

    def as_user(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return as_user


def _member(name: str) -> User:
    from django.contrib.auth.models import User

    return User.objects.create_user(name, password=f"{name}'s password")
