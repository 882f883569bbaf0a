"""Distinguish labels of markings from ordinary text.

Criteria: how specific the label is, the separator after it, its value, and whether
another label of markings is nearby.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workflows.definitions.markings.fields import MAX_BLOCK_GAP, Field
from workflows.definitions.markings.labels import Firmness, Separator

_SHORT = 3  # words; longer capitalized values are more than a heading


def blocks(fields: Iterable[Field], height: float) -> list[list[Field]]:
    """Group the fields that are near each other, from the top.

    `height` is the typical line height as a fraction of the page.
    """
    found: list[list[Field]] = []
    bottom = 0.0
    for field in sorted(fields, key=lambda field: field.box.top):
        if found and field.box.top - bottom <= MAX_BLOCK_GAP * height:
            found[-1].append(field)
        else:
            found.append([field])
            bottom = 0.0
        bottom = max(bottom, field.box.bottom)
    return found


def accept_fields(block: Sequence[Field]) -> list[Field]:
    """Return the fields of a block that label markings."""
    return [field for field in block if _is_accepted(field, _has_other(block, field))]


def _has_other(block: Sequence[Field], field: Field) -> bool:
    """Whether another label in the block is certainly one of markings."""
    return any(other is not field and _is_anchor(other) for other in block)


def _is_anchor(field: Field) -> bool:
    value, firmness = field.value, field.label.firmness
    if field.separator is Separator.NONE or field.label.position == "inline":
        return False
    if firmness >= Firmness.PLAIN:
        return field.separator is Separator.STRONG or value.is_understood
    return value.is_understood and value.has_marking and not value.is_common_word


def _is_accepted(field: Field, in_block: bool) -> bool:
    value = field.value
    if field.label.position == "inline":
        return value.is_understood and value.has_marking and value.is_capital
    if value.is_blank:
        return _is_left_blank(field, in_block)
    if value.is_understood:
        return _is_stated(field, in_block)
    return _needs_question(field, in_block)


def _is_stated(field: Field, in_block: bool) -> bool:
    """Whether an understood value belongs to this label."""
    value, firmness = field.value, field.label.firmness
    is_firm = firmness >= Firmness.PLAIN
    if field.separator is Separator.NONE:  # "CLASSIFICATION SECRET"
        return not value.text.islower() if is_firm else in_block and value.is_capital
    if is_firm:
        return True
    if value.is_none or value.is_common_word:
        return in_block
    return firmness is Firmness.LOOSE or field.separator is Separator.STRONG


def _is_left_blank(field: Field, in_block: bool) -> bool:
    firmness = field.label.firmness
    if field.value.text.strip() and firmness >= Firmness.PLAIN:
        return True  # "____"
    if field.label.separator is not Separator.STRONG:
        return in_block and firmness >= Firmness.PLAIN
    return firmness >= Firmness.PLAIN or (in_block and firmness is Firmness.LOOSE)


def _needs_question(field: Field, in_block: bool) -> bool:
    """Whether a value that is not understood needs a reviewer's decision."""
    value = field.value
    if field.label.position == "qualified":
        return value.has_marking and value.is_capital
    if field.separator is Separator.STRONG:
        return _needs_question_after_sign(field, in_block)
    is_firm = field.label.firmness >= Firmness.PLAIN
    if field.separator is Separator.NONE:
        return is_firm and value.is_capital and value.has_marking
    is_capital = len(value.text.split()) <= _SHORT and value.text.isupper()
    has_marking = value.is_brief and (value.has_marking or value.is_referral)
    return (is_firm or in_block) and (is_capital or has_marking)


def _needs_question_after_sign(field: Field, in_block: bool) -> bool:
    value, firmness = field.value, field.label.firmness
    if firmness is Firmness.FIRM or value.has_marking:
        return True
    if firmness is Firmness.PLAIN:
        return not value.is_prose or (in_block and value.is_brief)
    is_uncertain = in_block and (value.is_brief or not value.is_prose)
    return firmness is Firmness.LOOSE and (is_uncertain or value.is_capital)
