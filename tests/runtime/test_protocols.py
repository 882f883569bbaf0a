"""What a workflow may reach: the Runtime, its fakes, and what answers in their place."""

from __future__ import annotations

import datetime as dt
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field

from workflows.engine import State, Workflow, node, sleep
from workflows.engine.testing import ManualClock, run_in_memory
from workflows.runtime import (
    Agents,
    DocumentRef,
    Documents,
    FakeAgents,
    FakeDocuments,
    FakeImages,
    FakeLogger,
    FakeProfiles,
    FakeRuntime,
    Images,
    Invalid,
    LogEntry,
    Logger,
    Message,
    NoAgents,
    NodeContext,
    NoProfiles,
    NotFound,
    Profiles,
    PromptProfile,
    ProviderError,
    Reference,
    RenderOptions,
    Reply,
    Runtime,
    Tool,
    ToolCall,
    Unavailable,
    UpstreamFailed,
    page_of,
)


@dataclass
class Place:
    """Where a node runs, for tests."""

    key: str = "run/judge/3"
    node: str = "judge"
    sequence: int = 3
    cancelled: bool = False


class Verdict(BaseModel):
    label: str
    confidence: float = Field(ge=0, le=1)


def test_importing_the_runtime_imports_no_django() -> None:
    code = "import sys, workflows.runtime; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PROTOCOLS: list[tuple[type, object]] = [
    (Agents, FakeAgents()),
    (Agents, NoAgents()),
    (Documents, FakeDocuments()),
    (Images, FakeImages()),
    (Profiles, FakeProfiles()),
    (Profiles, NoProfiles()),
    (Logger, FakeLogger()),
    (NodeContext, Place()),
]


@pytest.mark.parametrize(
    ("protocol", "made"), PROTOCOLS, ids=[type(made).__name__ for _, made in PROTOCOLS]
)
def test_every_implementation_has_all_methods_of_its_protocol(
    protocol: type, made: object
) -> None:
    wanted = [name for name in vars(protocol) if not name.startswith("_")]
    assert wanted
    for name in wanted:
        assert hasattr(made, name)
        asked, given = vars(protocol)[name], getattr(made, name)
        if callable(asked):
            assert inspect.isasyncgenfunction(given) or (
                inspect.iscoroutinefunction(asked) == inspect.iscoroutinefunction(given)
            )


def test_fakes_satisfy_the_protocols_for_a_type_checker() -> None:
    agents: list[Agents] = [FakeAgents(), NoAgents()]
    runtime: Runtime = FakeRuntime()
    profiles: list[Profiles] = [FakeProfiles(), NoProfiles()]
    parts: tuple[Documents, Images, Logger] = (
        runtime.documents,
        runtime.images,
        runtime.logger,
    )
    made = [type(part) for part in (*agents, *profiles, *parts)]
    assert len(set(made)) == 7


# The Runtime -------------------------------------------------------------------------


def test_a_runtime_exposes_the_node_it_was_passed_to() -> None:
    runtime = FakeRuntime()
    here = runtime.at(Place(cancelled=True))
    assert isinstance(here, FakeRuntime)
    assert (here.key, here.cancelled) == ("run/judge/3", True)
    assert runtime.cancelled is False


def test_outside_a_node_there_is_no_key() -> None:
    with pytest.raises(Unavailable, match="not inside a node"):
        _ = FakeRuntime().key


def test_log_lines_carry_their_node_and_share_one_log() -> None:
    runtime = FakeRuntime()
    runtime.logger.info("Before.")
    runtime.at(Place(node="judge")).logger.warning("Page %d of %d.", 2, 3)
    assert runtime.logger.entries == [
        LogEntry("info", "Before."),
        LogEntry("warning", "Page 2 of 3.", "judge"),
    ]
    assert runtime.logger.text == "Before.\nPage 2 of 3."


def test_a_percent_sign_in_a_line_without_values_is_preserved() -> None:
    logger = FakeLogger()
    logger.error("50 % done")
    logger.debug("%s", "100 %")
    assert logger.text == "50 % done\n100 %"


# References --------------------------------------------------------------------------


class Params(BaseModel):
    document: DocumentRef
    annex: DocumentRef | None = None
    several: list[DocumentRef] = []


def test_a_document_reference_is_an_id_that_a_form_recognises() -> None:
    assert Reference("document") in Params.model_fields["document"].metadata
    properties = Params.model_json_schema()["properties"]
    assert properties["document"]["reference"] == "document"
    assert properties["annex"]["anyOf"][0]["reference"] == "document"
    assert properties["several"]["items"]["reference"] == "document"


def test_a_document_reference_survives_json() -> None:
    given = Params(document=uuid4())
    assert isinstance(given.document, UUID)
    assert Params.model_validate_json(given.model_dump_json()) == given


# Documents and images ----------------------------------------------------------------


async def test_a_fake_document_returns_its_pages_unchanged() -> None:
    documents = FakeDocuments()
    memo = documents.add("memo.pdf", ["SECRET\n\nThe plan.", page_of("Annex", 7)])
    info = await documents.get(memo)
    assert (info.name, info.page_count) == ("memo.pdf", 2)
    first, _ = await documents.pages(memo)
    assert first.text == "SECRET\nThe plan."
    assert (await documents.page(memo, 2)).text == "Annex"
    assert documents.reads == [(memo, None), (memo, 2)]


async def test_what_does_not_exist_is_not_found() -> None:
    documents = FakeDocuments()
    for wanted in (documents.get, documents.read, documents.pages):
        with pytest.raises(NotFound, match="no document"):
            await wanted(uuid4())
    memo = documents.add("memo.pdf", ["One page."])
    with pytest.raises(NotFound, match="no page 2: it has 1"):
        await documents.page(memo, 2)


def test_lines_of_a_fake_page_have_their_given_positions() -> None:
    page = page_of("HEAD\n\nbody text" + "\n" * 57 + "FOOT")
    head, body, foot = page.lines
    assert head.box.top < 0.05 < body.box.top < 0.9 < foot.box.top < 1
    first, second = body.words
    assert first.box.right < second.box.left


async def test_a_fake_image_is_valid_and_records_its_options() -> None:
    images, document = FakeImages(), uuid4()
    style = RenderOptions(pages="3", dpi=72)
    (image,) = await images.render(document, style)
    assert image.data.startswith(b"\x89PNG")
    assert (image.page, image.mime) == (3, "image/png")
    assert images.rendered == [(document, 3, style)]
    assert (await images.render(document, style))[0].id == image.id


async def test_a_fake_scan_shows_what_was_added_and_is_unavailable_otherwise() -> None:
    documents = FakeDocuments()
    memo = documents.add("memo.pdf", [""])
    with pytest.raises(Unavailable, match="cannot be read"):
        await documents.scan(memo, 1)
    documents.add_scan(memo, 1, "SECRET")
    documents.add_scan(memo, 1, "SECRET", "TOP SECRET", enhanced=True)
    assert [page.text for page in await documents.scan(memo, 1)] == ["SECRET"]
    assert len(await documents.scan(memo, 1, enhanced=True)) == 2


# Agents ------------------------------------------------------------------------------


async def test_without_a_provider_every_call_explains_where_to_add_one() -> None:
    agents = NoAgents()
    calls = [
        agents.chat("clerk", "Hello"),
        agents.vision("clerk", "Look", [b"png"]),
        agents.tools("clerk", "Do", []),
        agents.embed("clerk", ["text"]),
        agents.ask("clerk", "Judge", Verdict),
        anext(aiter(agents.chat_stream("clerk", "Hello"))),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match=r"“clerk”.*on the Agents page"):
            await call


async def test_a_fake_agent_returns_its_scripted_responses_in_order() -> None:
    agents = FakeAgents(clerk=["Good morning.", Reply("Bye.", tokens_out=2)])
    assert (await agents.chat("clerk", "Hello", temperature=0)).text == "Good morning."
    assert (await agents.chat("clerk", [Message("user", "Bye")])).tokens_out == 2
    assert agents.calls[0].prompt == "Hello"
    assert agents.calls[0].options == {"temperature": 0}
    with pytest.raises(UpstreamFailed, match="more often"):
        await agents.chat("clerk", "Again?")
    with pytest.raises(NotFound, match="no agent “judge”"):
        await agents.chat("judge", "Hello")


async def test_a_fake_stream_yields_the_whole_text_in_pieces() -> None:
    agents = FakeAgents(clerk=["one two two one"])
    stream: AsyncIterator[str] = agents.chat_stream("clerk", "Count")
    pieces = [piece async for piece in stream]
    assert len(pieces) == 4
    assert "".join(pieces) == "one two two one"


async def test_an_answer_is_validated_into_its_model() -> None:
    verdict = Verdict(label="memo", confidence=0.5)
    agents = FakeAgents(
        judge=[verdict, '{"label": "memo", "confidence": 0.5}', {"label": "memo"}]
    )
    assert await agents.ask("judge", "Which?", Verdict) is verdict
    assert await agents.ask("judge", "Which?", Verdict, token="key") == verdict
    assert agents.calls[1].options == {"token": "key"}
    with pytest.raises(UpstreamFailed, match="did not answer as Verdict"):
        await agents.ask("judge", "Which?", Verdict)


async def test_tools_images_and_vectors_are_passed_and_scripted_failures_raised() -> (
    None
):
    call = ToolCall("1", "look_up", {"name": "memo"})
    agents = FakeAgents(clerk=[[call], [[0.5, 1]], "A boat.", UpstreamFailed("Down.")])
    tool = Tool("look_up", "Find a document.", {"type": "object"})
    reply = await agents.tools("clerk", "Find it", [tool])
    assert reply.calls == (call,)
    assert await agents.embed("clerk", ["text"]) == ((0.5, 1),)
    assert (await agents.vision("clerk", "What?", [b"png"])).text == "A boat."
    with pytest.raises(UpstreamFailed, match="Down"):
        await agents.chat("clerk", "Hello")
    with pytest.raises(Invalid, match="got none"):
        await agents.vision("clerk", "What?", [])


# Profiles and errors -----------------------------------------------------------------


def test_a_profile_is_laid_over_the_defaults_field_by_field() -> None:
    default = PromptProfile(agent="clerk", prompt="Judge.", options={"a": 1, "b": 1})
    profiles = FakeProfiles(judge=PromptProfile(agent="expert", options={"b": 2}))
    assert profiles.prompt("judge", default) == PromptProfile(
        "expert", "Judge.", {"a": 1, "b": 2}
    )
    assert profiles.prompt("other", default) == default
    assert NoProfiles().prompt("judge", default) == default


def test_each_kind_of_error_has_a_code_and_a_sentence() -> None:
    kinds = ProviderError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds) == 7
    assert all(str(kind()).endswith(".") for kind in kinds)


def test_the_time_of_a_node_is_that_of_the_clock_of_its_run() -> None:
    clock = ManualClock()
    times = []

    @node
    def read_time(state: State, runtime: Runtime) -> State:
        times.append(runtime.now())
        return state

    pause = sleep(dt.timedelta(days=3), name="pause")
    workflow = Workflow("timed", state=State, start=pause, routes={pause: read_time})
    run_in_memory(workflow, runtime=FakeRuntime(), clock=clock)
    assert times == [dt.datetime(2026, 1, 4, 12, tzinfo=dt.UTC)]
    assert FakeRuntime().now().tzinfo is dt.UTC
