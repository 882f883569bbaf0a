"""The container image, the compose file and the units for systemd, without their engines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from django.core.management import get_commands
from packaging.markers import Marker

from project.env import ROOT, Environment
from tests.chaos.installation import address_of, through
from tests.chaos.proxy import Proxy
from tests.crash.processes import wait_for
from tests.support.servers import free_port

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = ("prepare", "web", "worker")
SETTINGS = {name.upper() for name in Environment.model_fields}


def settings_in(text: str) -> dict[str, str]:
    """Return the settings of a file of environment variables."""
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


def steps() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile with their arguments."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    return re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)


def command_of(service: str) -> list[str]:
    command: list[str] = COMPOSE["services"][service]["command"]
    return command


# What can be checked anywhere -----------------------------------------------------------


def test_services_have_existing_commands_and_settings() -> None:
    example = settings_in((DEPLOY / "signalbox.env.example").read_text())
    assert set(example) <= SETTINGS
    for name in OURS:
        service = COMPOSE["services"][name]
        assert set(service["environment"]) <= SETTINGS
        assert command_of(name)[:2] == [".venv/bin/python", "manage.py"]
        assert command_of(name)[2] in get_commands()
    (image_command,) = [json.loads(text) for word, text in steps() if word == "CMD"]
    assert image_command == command_of("web")


def test_a_worker_may_finish_its_drain_before_it_is_killed() -> None:
    drain = Environment.model_fields["drain_seconds"].default
    unit = (DEPLOY / "systemd" / "signalbox-worker@.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop) > drain
    grace = COMPOSE["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > drain


def test_units_are_installed_for_the_directory_of_the_project(tmp_path: Path) -> None:
    settings = tmp_path / "etc" / "signalbox.env"
    for _ in range(2):  # the second time, the settings of the operator stay
        done = subprocess.run(
            ["make", "install-systemd", f"DESTDIR={tmp_path}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert settings.stat().st_mode & 0o777 == 0o600
        if not settings.read_text().startswith("A=1"):
            settings.write_text("A=1")
    assert settings.read_text() == "A=1"
    units = {path.name: path for path in (tmp_path / "etc/systemd/system").iterdir()}
    assert set(units) == {path.name for path in (DEPLOY / "systemd").iterdir()}
    for path in units.values():
        for line in re.findall(r"^ExecStart=(\S+) manage\.py (\w+)", path.read_text()):
            program, command = line
            assert Path(program) == ROOT / ".venv/bin/python"
            assert command in get_commands()
    if shutil.which("systemd-analyze"):
        verified = subprocess.run(
            ["systemd-analyze", "verify", *map(str, units.values())],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
        )
        ours = [line for line in verified.stderr.splitlines() if "signalbox" in line]
        assert ours == []


# The steps in a clean Debian root -------------------------------------------------------


class Root:
    """A directory with the files of an image, and commands executed in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory, self.user = "/", "root"
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

    def build(self) -> None:
        """Execute the instructions of the Containerfile in their order."""
        for word, text in steps():
            if word not in {"FROM", "VOLUME", "EXPOSE", "CMD"}:
                getattr(self, f"_{word.lower()}")(text)

    def _run(self, text: str) -> None:
        self.execute(["sh", "-c", text])

    def _workdir(self, text: str) -> None:
        self.directory = text
        (self.path / text.lstrip("/")).mkdir(parents=True)

    def _env(self, text: str) -> None:
        name, _, value = text.partition("=")
        self.environment[name] = value

    def _user(self, text: str) -> None:
        self.user = text

    def execute(self, command: Sequence[str], **settings: str) -> str:
        """Execute a command to its end; return what it printed."""
        done = subprocess.run(
            self._inside(command, settings),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: Sequence[str], **settings: str) -> subprocess.Popen[str]:
        """Start a command that runs until it is killed."""
        return subprocess.Popen(self._inside(command, settings), text=True)

    def _inside(self, command: Sequence[str], settings: dict[str, str]) -> list[str]:
        values = [f"{key}={v}" for key, v in (self.environment | settings).items()]
        # The directory of the command is changed inside, after the root has changed.
        shell = f'cd "{self.directory}" && exec "$@"'
        change = ["chroot", f"--userspec={self.user}", str(self.path)]
        return [*change, "env", "-i", *values, "sh", "-c", shell, "sh", *command]

    def _copy(self, text: str) -> None:
        *sources, _ = text.split()
        target = self.path / self.directory.lstrip("/")
        if sources == ["."]:  # .containerignore leaves out what git ignores, and more
            listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
            found = subprocess.run(
                [*listed, "--exclude-standard"], capture_output=True, check=True
            )
            sources = [one for one in found.stdout.decode().split("\0") if one]
        for name in sources:
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target / name)


def required_in_debian() -> list[str]:
    """Return what the image installs; pip itself applies markers to its own Python only."""
    python = {"python_version": "3.11", "python_full_version": "3.11.2"}
    found = []
    for name in re.findall(r"requirements[\w-]*\.txt", str(steps())):
        for line in (ROOT / name).read_text().splitlines():
            pinned = re.match(r"(\S+==\S+)(?: ; (.*?))? \\$", line)
            if pinned and (not pinned[2] or Marker(pinned[2]).evaluate(python)):
                found.append(pinned[1])
    return sorted({*found})


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Provide a clean Debian with the Python packages of the Containerfile."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("A Debian root needs the user root and the package debootstrap.")
    path = tmp_path / "root"
    subprocess.run(
        ["debootstrap", "--variant=minbase", "bookworm", str(path)],
        check=True,
        capture_output=True,
    )
    root = Root(path)
    shutil.copy("/etc/resolv.conf", path / "etc" / "resolv.conf")
    download = ("--only-binary=:all:", "--python-version=3.11", "--no-deps")
    subprocess.run(  # from where this machine gets its packages
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", *download),
            *("--dest", str(path / "wheels"), *required_in_debian()),
        ],
        check=True,
    )
    root.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    return root


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_image_and_the_services_work_in_a_clean_debian(
    root: Root, postgres_url: str, redis_url: str
) -> None:
    root.build()
    stack = ExitStack()
    proxy = stack.enter_context(
        Proxy()
    )  # the socket of the server is outside of the root
    database = through(postgres_url, proxy.listen("db", address_of(postgres_url)))
    port = str(free_port())
    example = settings_in((DEPLOY / "signalbox.env.example").read_text())
    settings = example | {
        "SECRET_KEY": "k" * 60,
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS": "off",
        "ADMIN_PASSWORD": "an admin's password",
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "PORT": port,
    }
    with stack:
        root.execute(command_of("prepare"), **settings)
        for name in ("web", "worker"):
            process = stack.enter_context(root.start(command_of(name), **settings))
            stack.callback(process.kill)
        wait_for(lambda: is_live(port), what="the pages", seconds=60)
        health = COMPOSE["services"]["web"]["healthcheck"]["test"][1:]
        root.execute([word.replace("8000", port) for word in health], **settings)
        launch = "manage.py run_workflow onboard-supplier --wait --param"
        waits = (
            f".venv/bin/python {launch} company=Acme --param country=DE; test $? -eq 3"
        )
        root.execute(["sh", "-c", waits], **settings)  # until it waits for a person


def is_live(port: str) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
