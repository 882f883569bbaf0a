"""Updates of an open page contain only the differences."""

from __future__ import annotations

from workflows.pages.render.regions import Region, difference


def a_list(*items: tuple[str, str], title: str = "Steps") -> Region:
    """Return a region with a heading and a list of items."""
    rendered = [(name, f'<li id="{name}">{text}</li>') for name, text in items]
    inside = "".join(html for _, html in rendered)
    html = f'<section id="run-path"><h2>{title}</h2><ol id="run-steps">{inside}</ol></section>'
    return Region(html, rendered, "run-steps")


LONG = tuple((f"step-{n}", f"text {n}") for n in range(20))


def test_a_page_without_regions_receives_all_of_them() -> None:
    region = a_list(*LONG)
    assert difference(None, region) == region


def test_unchanged_regions_are_not_sent() -> None:
    assert difference(a_list(*LONG), a_list(*LONG)) == ""


def test_only_the_item_that_changed_is_sent() -> None:
    changed = (*LONG[:-1], ("step-19", "another text"))
    assert difference(a_list(*LONG), a_list(*changed)) == (
        '<li id="step-19" hx-swap-oob="outerMorph">another text</li>'
    )


def test_a_new_item_is_appended() -> None:
    more = (*LONG, ("step-20", "text 20"))
    assert difference(a_list(*LONG), a_list(*more)) == (
        '<ol hx-swap-oob="beforeend:#run-steps"><li id="step-20">text 20</li></ol>'
    )


def test_a_removed_item_is_deleted_from_the_page() -> None:
    sent = difference(a_list(*LONG), a_list(*LONG[1:]))
    assert sent == '<p id="step-0" hx-swap-oob="delete"></p>'


def test_a_reordered_list_is_sent_completely() -> None:
    reversed_list = a_list(*LONG[::-1])
    assert difference(a_list(*LONG), reversed_list) == reversed_list


def test_a_changed_container_is_sent_completely() -> None:
    renamed = a_list(*LONG, title="All steps")
    assert difference(a_list(*LONG), renamed) == renamed


def test_many_changes_are_sent_as_the_full_region() -> None:
    changed = a_list(*((name, f"new {text}") for name, text in LONG))
    assert difference(a_list(*LONG), changed) == changed


def test_running_times_are_no_change() -> None:
    def since(text: str) -> Region:
        return Region(f'<p id="x"><time datetime="2026" data-since>{text}</time></p>')

    assert difference(since("3 s"), since("4 s")) == ""
    assert difference(since("3 s"), Region('<p id="x">ended</p>')) != ""


def test_parts_of_an_svg_are_sent_within_an_svg_element() -> None:
    def drawn(state: str) -> Region:
        items = [
            (f"node-{n}", f'<g id="node-{n}">{state if n == 3 else ""}</g>')
            for n in range(30)
        ]
        inside = "".join(html for _, html in items)
        return Region(
            f'<div id="run-graph"><svg>{inside}</svg></div>', items, "", "svg"
        )

    assert difference(drawn("waiting"), drawn("done")) == (
        '<svg><g id="node-3" hx-swap-oob="outerMorph">done</g></svg>'
    )
