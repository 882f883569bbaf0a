"""Which pages are drawn and how: expressions, options, and the golden tables about them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.documents.pdf import InvalidRenderOption, PageOutOfRange, PageStyle
from workflows.runtime.errors import Invalid, ProviderError
from workflows.runtime.page_ranges import InvalidPageRange, chosen_pages, pages_of
from workflows.runtime.page_style import image_format
from workflows.runtime.renderings import RenderOptions

GOLDEN = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parents[1] / "golden")
TABLES: dict[str, list[dict[str, Any]]] = json.loads(
    (GOLDEN / "tables.json").read_text()
)["tables"]


def code_of(error: ProviderError) -> str:
    """Return its code without the kind of file."""
    return error.code.removeprefix("pdf.")


# The tables --------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLES["page_range"], ids=lambda row: row["expr"])
def test_page_expressions_match_the_table(row: dict[str, Any]) -> None:
    if row["error"] is None:
        assert list(pages_of(row["expr"], row["max_page"])) == row["pages"]
        return
    with pytest.raises(ProviderError, match=r"\.$") as raised:
        pages_of(row["expr"], row["max_page"])
    assert code_of(raised.value) == row["error"]


@pytest.mark.parametrize("row", TABLES["image_format"], ids=lambda row: row["input"])
def test_formats_match_the_table(row: dict[str, Any]) -> None:
    if row["error"] is None:
        assert image_format(row["input"]) == row["format"]
        return
    with pytest.raises(ProviderError) as raised:
        image_format(row["input"])
    assert raised.value.code == row["error"]


@pytest.mark.parametrize(
    "row", TABLES["render_options"], ids=lambda row: json.dumps(row["input"])
)
def test_options_match_the_table(row: dict[str, Any]) -> None:
    if row["error"] is None:
        assert RenderOptions(**row["input"]).to_dict() == row["normalised"]
        return
    with pytest.raises(ProviderError) as raised:
        RenderOptions(**row["input"])
    assert raised.value.code == row["error"]


# Pages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "pages"),
    [
        ("", (1, 2, 3, 4, 5)),
        ("  ", (1, 2, 3, 4, 5)),
        (" 2 - 3 , 5 ", (2, 3, 5)),
        ("4-", (4, 5)),
        ("5,1,5,-2", (1, 2, 5)),
    ],
)
def test_pages_are_sorted_and_unique(expression: str, pages: tuple[int, ...]) -> None:
    assert chosen_pages(expression, 5) == pages


@pytest.mark.parametrize(
    ("expression", "error", "said"),
    [
        ("1-b", InvalidPageRange, "“1-b” names no pages"),
        ("3-1", InvalidPageRange, "“3-1” runs backwards"),
        ("6-", InvalidPageRange, "“6-” begins after the last page"),
        ("2-999999999", PageOutOfRange, "no page 999999999: the document has 5"),
        ("9" * 30, InvalidPageRange, "names no pages"),
        ("\N{ARABIC-INDIC DIGIT THREE}", InvalidPageRange, "names no pages"),
        ("1," * 2_000, InvalidPageRange, "at most 2,000 characters"),
    ],
)
def test_an_error_names_the_invalid_part(
    expression: str, error: type[Invalid], said: str
) -> None:
    with pytest.raises(error, match=said):
        chosen_pages(expression, 5)


@given(st.text(alphabet="0123456789-+, .b", max_size=30), st.integers(1, 50))
def test_any_expression_yields_existing_pages_or_a_message(
    expression: str, count: int
) -> None:
    try:
        pages = chosen_pages(expression, count)
    except (InvalidPageRange, PageOutOfRange) as refused:
        pages, said = (), str(refused)
    else:
        said = "."
    assert said.endswith(".")
    assert list(pages) == sorted(set(pages))
    assert all(1 <= page <= count for page in pages)
    assert pages or said != "."


# Options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"dpi": 71}, "dpi cannot be 71: use 72 to 1200"),
        ({"dpi": 1.5}, "dpi must be a whole number"),
        ({"contrast": 101}, "contrast cannot be 101: use -100 to 100"),
        ({"rotation": True}, "rotation must be a whole number"),
        ({"background": "url(x)"}, "background cannot be “url"),
        ({"background": "no such colour"}, "use the name of a colour"),
    ],
)
def test_an_option_that_cannot_be_is_named(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRenderOption, match=said):
        RenderOptions(**given_)


def test_ineffective_options_give_the_same_image_key() -> None:
    plain = PageStyle(dpi=150).key
    assert PageStyle(dpi=150, format=" PNG ", brightness=100, rotation=0).key == plain
    assert PageStyle(dpi=150, quality=40).key == plain, "a PNG has no quality"
    assert PageStyle(dpi=150, background="#ffffff").key == plain


def test_effective_options_give_different_image_keys() -> None:
    styles = [
        PageStyle(),
        PageStyle(dpi=150),
        PageStyle(format="jpg"),
        PageStyle(format="jpg", quality=40),
        PageStyle(brightness=0),
        PageStyle(contrast=-100),
        PageStyle(saturation=0),
        PageStyle(rotation=90),
        PageStyle(background="black"),
    ]
    assert len({style.key for style in styles}) == len(styles)
