"""An HTTP server that receives webhooks and sends configured responses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook


@dataclass
class Reply:
    """A response; `raw` replaces it, `hangs` sends nothing until the server stops."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    hangs: bool = False


@dataclass
class Received:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> None:
        """Raise standardwebhooks' error unless the secret signed the message."""
        Webhook(secret).verify(self.text, self.headers)


class Receiver:
    """Collects requests; `reply` decides on the response to each."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.reply: Callable[[Received], Reply] = lambda _: Reply()
        self._ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        self._thread = thread
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ids(self) -> list[str]:
        """The ids of the messages, in the order of their arrival."""
        return [one.id for one in self.received]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                text = self.rfile.read(length).decode()
                received = Received(self.path, headers, text)
                receiver.received.append(received)
                self._send(receiver.reply(received))

            def _send(self, reply: Reply) -> None:
                if reply.hangs:
                    receiver._ended.wait()
                    self.close_connection = True
                elif reply.raw:
                    self.wfile.write(reply.raw)
                    self.close_connection = True
                else:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                """Write nothing to the test's output."""

        return Handler
