"""Refusals of requests before they reach Django: status, sentence and how to respond."""

from __future__ import annotations


class Refusal(Exception):
    """A request is refused."""

    def __init__(self, status: int, code: str, heading: str, sentence: str) -> None:
        """Take the status, a code for scripts, and the texts of the response."""
        super().__init__(sentence)
        self.status, self.code = status, code
        self.heading, self.sentence = heading, sentence


def busy() -> Refusal:
    """Return the refusal of a request that finds no place."""
    return Refusal(
        503,
        "busy",
        "Server busy",
        "The server is processing too many requests at the moment. Nothing was changed.",
    )


def too_large(most: int) -> Refusal:
    """Return the refusal of a body that has a file of more than `most` bytes."""
    return Refusal(
        413,
        "too_large",
        "Request too large",
        f"Files may have up to {most / 1_000_000:g} MB, and this one is larger."
        " Nothing was saved. Go back in the browser: what else you had filled in is still"
        " there. Then choose another file.",
    )


def too_slow() -> Refusal:
    """Return the refusal of a body that does not arrive in time."""
    return Refusal(
        408,
        "too_slow",
        "Request timed out",
        "The request did not arrive in time. Nothing was saved. Check the connection and"
        " send it again.",
    )


def signed_out() -> Refusal:
    """Return the refusal of a large body without a session."""
    return Refusal(
        401,
        "signed_out",
        "Signed out",
        "Signed out. Nothing was saved. Sign in, then send the file again.",
    )
