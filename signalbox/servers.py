"""Known servers with their tokens, in a file that only its owner can read."""

from __future__ import annotations

import ipaddress
import json
import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from signalbox.failures import Failure

URL, TOKEN, ALLOW_HTTP = "SIGNALBOX_URL", "SIGNALBOX_TOKEN", "SIGNALBOX_ALLOW_HTTP"
PRIVATE: Final = 0o600
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the token to use; the token is not part of its representation."""

    url: str  # without a slash at the end
    token: str = field(repr=False)
    allow_http: bool = False


@dataclass(slots=True)
class Servers:
    """The content of the file."""

    by_name: dict[str, Server]
    default: str = ""


def config_file() -> Path:
    """Return the path of the file, which need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "signalbox" / "servers.json"


def load() -> Servers:
    """Return the known servers. Raises Failure if others can read the file."""
    path = config_file()
    try:
        if path.stat().st_mode & OTHERS:
            raise Failure(
                f"{path} contains tokens and can be read by others. Run: chmod 600 {path}"
            )
        content: Any = json.loads(path.read_text())
        found = {name: Server(**one) for name, one in content["servers"].items()}
        return Servers(found, str(content["default"]))
    except FileNotFoundError:
        return Servers({})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Failure(
            f"{path} can’t be read ({type(error).__name__}). Remove it and run `signalbox"
            " login` again."
        ) from error


def save(servers: Servers) -> None:
    """Replace the file, readable by its owner only from the beginning. Raises Failure."""
    path = config_file()
    content = {
        "default": servers.default,
        "servers": {
            name: {"url": one.url, "token": one.token, "allow_http": one.allow_http}
            for name, one in servers.by_name.items()
        },
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(number, "w") as file:
            json.dump(content, file, indent=2)
        Path(draft).replace(path)
    except OSError as error:
        raise Failure(f"{path} can’t be written: {error.strerror}.") from error


def chosen(name: str) -> Server:
    """Return the server to use: the one named, that of the environment, or the default.

    Raises Failure.
    """
    url, token = os.environ.get(URL, ""), os.environ.get(TOKEN, "")
    if not name and (url or token):
        if not (url and token):
            raise Failure(f"Set both {URL} and {TOKEN}, or neither.")
        return checked(Server(url, token, os.environ.get(ALLOW_HTTP) == "1"))
    servers = load()
    name = name or servers.default
    if name not in servers.by_name:
        known = ", ".join(sorted(servers.by_name))
        what = f"There is no server “{name}”." if name else "No server is set up."
        hint = f"Known: {known}." if known else "Run `signalbox login URL`."
        raise Failure(f"{what} {hint}")
    return checked(servers.by_name[name])


def checked(server: Server) -> Server:
    """Return a server whose URL is usable. Raises Failure."""
    parts = urlsplit(server.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise Failure(
            f"“{server.url}” is not the URL of a server, such as https://runs.example.org."
        )
    if parts.scheme == "http" and not (server.allow_http or _is_local(parts.hostname)):
        raise Failure(
            "http:// would send the token unencrypted. Use https://, or allow it with"
            f" --allow-http or {ALLOW_HTTP}=1."
        )
    if not server.token.isascii() or not server.token.isprintable():
        raise Failure("The token contains characters that no token has.")
    return Server(server.url.rstrip("/"), server.token, server.allow_http)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
