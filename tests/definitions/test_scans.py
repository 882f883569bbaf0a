"""Scans of memos without a text layer: correct levels, never lower ones, review if unsure.

The memos come from tests/support/memos.py with their expected markings. The fast tests use
a few of them; the slow ones use all, including held-out seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from tests.support.memos import HELD_OUT, MEMOS, SEED, Memo
from workflows.definitions.classify_document import Params, classify_document
from workflows.definitions.markings import Level
from workflows.documents import pdf
from workflows.documents.reader import Limits, Pool, Task
from workflows.documents.reader.page_encoding import decode_page
from workflows.engine.testing import run_in_memory
from workflows.runtime import FakeDocuments, FakeRuntime, Page

pytest.importorskip("rapidocr", reason="scans are read with requirements-ocr.txt only")
pytestmark = pytest.mark.timeout(600)

READ_ALWAYS = ("clean",)
READ_SLOWLY = ("letters missing of top secret", "unmarked, speaks of secrets")


@pytest.fixture(scope="module")
def reader() -> Iterator[Pool]:
    """Give a child that reads scans."""
    pool = Pool("scan", 1, Limits(600, 4_000_000_000, 600))
    yield pool
    pool.close()


class Scanned(FakeDocuments):
    """Documents whose pages are read by the OCR reader."""

    def __init__(self, pool: Pool, data: bytes) -> None:
        """Take the reader and the PDF."""
        super().__init__()
        self._pool = pool
        self._picture = pdf.render_page(data, 1, dpi=200).data
        self.id = self.add("memo.pdf", pdf.read_pages(data))

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return what the reader sees."""
        self.reads.append((document, number))
        arguments = {"page": number, "enhanced": enhanced}
        reply = await self._pool.run_async(Task("scan", arguments, self._picture))
        return tuple(decode_page(page) for page in reply.head["variants"])


@dataclass(frozen=True, slots=True)
class Judged:
    """What was made of a memo."""

    memo: Memo
    level: Level | None
    caveats: tuple[str, ...]
    asked: bool

    @property
    def is_right(self) -> bool:
        """Return whether the level is the true one."""
        return self.level is self.memo.level

    @property
    def is_lower(self) -> bool:
        """Return whether it was marked lower than it is."""
        return _rank(self.level) < _rank(self.memo.level)

    @property
    def is_safe(self) -> bool:
        """Return whether level and caveats are right, or a person is asked about them."""
        right = self.is_right and set(self.caveats) == set(self.memo.caveats)
        return right or self.asked


def _rank(level: Level | None) -> int:
    return level.rank if level else -1


def judge_fields(memo: Memo, seed: int, pool: Pool) -> Judged:
    """Run classify-document on a memo."""
    documents = Scanned(pool, memo.draw(seed))
    outcome = run_in_memory(
        classify_document,
        Params(document=documents.id),
        runtime=FakeRuntime(documents=documents),
    )
    assert outcome.status in ("completed", "waiting"), outcome.error
    state = outcome.state
    return Judged(memo, state.level, state.caveats, outcome.status == "waiting")


@pytest.mark.parametrize(
    "name",
    [
        *READ_ALWAYS,
        *(pytest.param(name, marks=pytest.mark.slow) for name in READ_SLOWLY),
    ],
)
def test_a_few_memos_are_classified_correctly(name: str, reader: Pool) -> None:
    (memo,) = [memo for memo in MEMOS if memo.name == name]
    found = judge_fields(replace(memo, is_short=True), SEED, reader)
    assert found.is_right
    assert found.is_safe
    assert found.asked == (memo.level is None)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [SEED, *HELD_OUT])
def test_every_memo_is_classified_correctly_and_none_too_low(
    seed: int, reader: Pool
) -> None:
    found = [judge_fields(memo, seed, reader) for memo in MEMOS]
    right = sum(one.is_right for one in found)
    asked = sum(one.asked for one in found)
    print(f"seed {seed}: {right} of {len(found)} right, {asked} asked")  # noqa: T201
    assert [one.memo.name for one in found if one.is_lower] == []
    assert [one.memo.name for one in found if not one.is_right] == []
    assert [one.memo.name for one in found if not one.is_safe] == []
    clear = [one for one in found if not one.asked]
    assert len(clear) >= len(MEMOS) / 2, "asking about everything would be no art"


def test_there_are_enough_memos_of_every_kind() -> None:
    assert len(MEMOS) >= 27
    assert len({memo.name for memo in MEMOS}) == len(MEMOS)
    assert {memo.turned for memo in MEMOS} == {0, 90, 180, 270}
    assert {memo.machine for memo in MEMOS} > {"fax", "coarse fax", "old copier"}
    assert sum(memo.level is None for memo in MEMOS) >= 3


def test_the_memo_depends_only_on_the_seed() -> None:
    memo = MEMOS[1]
    assert memo.draw(SEED) == memo.draw(SEED) != memo.draw(SEED + 1)
    assert pdf.read_pages(memo.draw(SEED))[0].is_picture
