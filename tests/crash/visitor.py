"""A client that reads pages, submits forms and opens websockets."""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from tests.support.servers import ADMIN_PASSWORD

TIMEOUT_SECONDS = 30  # per response
HIDDEN = re.compile(r'<input type="hidden"\s+name="(\w+)"\s+value="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    text: str


class Visitor:
    """Signed in as the admin, with a persistent connection."""

    def __init__(self, url: str, *, sign_in: bool = True) -> None:
        self.host = urlsplit(url).netloc
        self._cookies: dict[str, str] = {}
        self._connection = self._connect()
        if sign_in:
            form = {"username": "admin", "password": ADMIN_PASSWORD}
            answer = self.post("/accounts/login/", form)
            assert answer.status == 302, answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, timeout=TIMEOUT_SECONDS)

    def also(self, url: str = "") -> Visitor:
        """Return the same user on a separate connection, possibly to another process."""
        other = Visitor(url or f"http://{self.host}", sign_in=False)
        other._cookies = dict(self._cookies)
        return other

    def get(self, path: str, **headers: str) -> Answer:
        """Return a page."""
        return self._ask("GET", path, None, headers)

    def read(self, path: str) -> str:
        """Return the text of a page; assert the status 200."""
        answer = self.get(path)
        assert answer.status == 200, answer
        return answer.text

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        """Submit the form of a page with its CSRF token."""
        return self.send(path, {**self.form_of(path), **form}, **headers)

    def form_of(self, path: str) -> dict[str, str]:
        """Return the hidden fields of a page's form."""
        page = self.read(path)
        hidden = dict(HIDDEN.findall(page))
        assert "csrfmiddlewaretoken" in hidden, path
        return hidden

    def send(self, path: str, form: Mapping[str, Any], **headers: str) -> Answer:
        """Send form data; a list is sent as several values of a name."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(form, doseq=True), kind | headers)

    def _ask(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Cookie": self._cookie(), **named}
        try:
            self._connection.request(method, path, body, given)
            answer = self._connection.getresponse()
            text = answer.read().decode()
        except (http.client.HTTPException, OSError):
            # Browsers reconnect when a persistent connection was closed meanwhile;
            # the caller decides whether the request is repeated.
            self._connection.close()
            self._connection = self._connect()
            raise
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self._cookies[key] = rest.split(";")[0]
        return Answer(answer.status, dict(answer.getheaders()), text)

    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def open_socket(self, path: str) -> Socket:
        """Open a websocket. Raises Refused with the status if it is rejected."""
        return Socket(self.host, path, self._cookie())


class Refused(Exception):
    """The server rejected the websocket."""


class Socket:
    """A websocket that reads and acknowledges messages."""

    def __init__(self, host: str, path: str, cookie: str) -> None:
        """Perform the handshake."""
        name, _, port = host.partition(":")
        self._socket = socket.create_connection((name, int(port)), TIMEOUT_SECONDS)
        self._file = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            f"Origin: http://{host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Cookie: {cookie}",
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = self._file.readline().split()
        while self._file.readline().strip():
            pass
        if status[1:2] != [b"101"]:
            self.close()
            raise Refused(b" ".join(status).decode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def next(self) -> str | int:
        """Return the next text, or the code with which the server closed."""
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._read(8))
            content = self._read(length)
            kind = first & 0x0F
            if kind == 1:
                self._send(1, b"shown")
                return content.decode()
            if kind == 8:
                return int(struct.unpack(">H", content[:2])[0]) if content else 1005
            if kind == 9:
                self._send(10, content)

    def flood(self, count: int) -> None:
        """Send `count` short messages. Raises ConnectionError when the server disconnects."""
        frame = b"\x81\x85" + bytes(4) + b"stale"  # masked with zeros
        for _ in range(count // 1_000):
            self._socket.sendall(frame * 1_000)

    def say(self, text: str) -> None:
        """Send a text."""
        self._send(1, text.encode())

    def cut(self) -> None:
        """Close the connection immediately, also for a thread that reads from it."""
        with suppress(OSError):  # already closed
            self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, kind: int, content: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(content))
        self._socket.sendall(bytes([0x80 | kind]) + _length(content) + mask + masked)

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise ConnectionResetError("the socket was cut off")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()


def _length(content: bytes) -> bytes:
    """Return the encoded length of a masked message."""
    size = len(content)
    if size < 126:
        return bytes([0x80 | size])
    if size < 1 << 16:
        return struct.pack(">BH", 0x80 | 126, size)
    return struct.pack(">BQ", 0x80 | 127, size)
