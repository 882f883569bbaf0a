"""A parser that finds what hostile texts created in a page."""

from __future__ import annotations

from html.parser import HTMLParser

ADDRESSES = {"href", "src", "action", "formaction", "xlink:href", "hx-get", "hx-post"}
SCHEMES = ("javascript:", "data:", "vbscript:")


class Elements(HTMLParser):
    """Collects texts, and elements, attributes and addresses created by hostile texts."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag.startswith("hostile"):
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            text = (value or "").strip().lower()
            is_code = name.startswith(("on", "hx-on", "hostile")) or name == "style"
            if is_code or (name in ADDRESSES and text.startswith(SCHEMES)):
                self.wrong.append(f"<{tag} {name}={value!r:.60}>")
            self.texts.append(value or "")
        is_data = dict(attrs).get("type") == "application/json"  # which is not run
        if tag == "script" and "src" not in dict(attrs) and not is_data:
            self.wrong.append("<script>")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parse(html: str) -> Elements:
    """Parse a page."""
    parser = Elements()
    parser.feed(html)
    parser.close()
    return parser
