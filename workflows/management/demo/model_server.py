"""A model server on this machine that answers with prepared texts, for the time of a demo."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from django.conf import settings

MODEL: Final = "demo-model"
OUTAGE: Final = (
    "archive"  # a prompt with this word fails, as if the server had an outage
)
CHARACTERS_PER_TOKEN: Final = 4
SUMMARY: Final = (
    "The harbour office renews the tide gate in March. Two lifts are closed for nine days;"
    " ferries use the north quay. The budget of 184,000 EUR was approved on 12 May."
)
REASONING: Final = (
    "1. The current supplier delivers on time but costs 11% more.\n"
    "2. Changing needs four weeks and a second warehouse contract.\n"
    "3. The saving of a year covers the change after seven months.\n"
)
DOUBTFUL: Final = {
    "answer": "Probably change the supplier.",
    "confidence": 0.55,
    "reasons": ["The price is lower."],
    "doubts": ["The delivery times of the new supplier are not known."],
}
SURE: Final = {
    "answer": "Change the supplier at the end of the quarter.",
    "confidence": 0.86,
    "reasons": ["The saving covers the change after seven months."],
    "doubts": ["The warehouse contract has to be renewed first."],
}


@contextmanager
def model_server() -> Iterator[str]:
    """Serve while the block runs; yield the base URL.

    The address is this process's own, so the setting that keeps providers from internal
    addresses is lifted for the block, in this process only.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    allowed = settings.ALLOW_PRIVATE_PROVIDERS
    settings.ALLOW_PRIVATE_PROVIDERS = True
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        settings.ALLOW_PRIVATE_PROVIDERS = allowed
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a chat, as a whole or as a stream."""
        size = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(size))
        prompt = " ".join(str(one.get("content")) for one in body["messages"])
        if OUTAGE in prompt.lower():
            self._send(503, {"error": {"message": "The model is being loaded."}})
        elif body.get("stream"):
            self._stream(_text(prompt), prompt)
        else:
            text = _text(prompt)
            choice = {"index": 0, "finish_reason": "stop"}
            choice["message"] = {"role": "assistant", "content": text}
            self._send(200, _reply(choices=[choice], usage=_usage(prompt, text)))

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, text: str, prompt: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        delta = {"index": 0, "delta": {"content": text}}
        for event in (
            _reply(choices=[delta]),
            _reply(choices=[], usage=_usage(prompt, text)),
        ):
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: Any) -> None:
        """Write no log."""


def _text(prompt: str) -> str:
    if "conclu" not in prompt.lower():
        return REASONING if "reason" in prompt.lower() else SUMMARY
    is_second_round = "Doubts:" in prompt or "earlier round" in prompt
    return json.dumps(
        DOUBTFUL if "doubtful" in prompt and not is_second_round else SURE
    )


def _reply(**fields: Any) -> dict[str, Any]:
    return {
        "id": "demo",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        **fields,
    }


def _usage(prompt: str, text: str) -> dict[str, int]:
    return {
        "prompt_tokens": len(prompt) // CHARACTERS_PER_TOKEN,
        "completion_tokens": len(text) // CHARACTERS_PER_TOKEN,
    }
