"""Thinking that is bound to the messages before it, through the middleware, call by call."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer._counting.providers import checks_thinking, provider_of
from langchain_tokenbuffer._messages.kinds import call_ids
from langchain_tokenbuffer._messages.thinking import has_thinking, without_thinking
from langchain_tokenbuffer.errors import TokenBudgetError
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from tests.agents.scripted import ENCODING, Scripted, middleware_within, request
from tests.builders import ai_calling, comparable, count_words, repeat_word, texts_of, tool_loop
from tests.scale import examples
from tests.strategies import TRIM_TO, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLAUDE = Scripted(replies=[], model_name="claude-opus-4-5")
CHECKING_CLAUDE = Scripted(replies=[], model_name="claude-fable-5-1")
THOUGHT = {"type": "thinking", "thinking": "Hm, let me see.", "signature": "s"}


@dataclass
class Thread:
    """A thread as an agent's state holds it, from call to call."""

    model: Scripted = field(default_factory=lambda: CLAUDE)
    system: str = "Go."
    messages: list[BaseMessage] = field(default_factory=list)
    known: Any = None

    def call(self, middleware: TokenBufferMiddleware | None) -> list[BaseMessage]:
        """Call the model; return what it is shown."""
        if middleware is None:
            return [*self.messages]
        shown: list[BaseMessage] = []

        def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
            shown.extend(asked.messages)
            return ModelResponse(result=[])

        options = {"known": self.known, "model": self.model, "system_message": SystemMessage(self.system)}
        answer: Any = middleware.wrap_model_call(request(self.messages, **options), handler)
        update = getattr(getattr(answer, "command", None), "update", None) or {}
        gone = {each.id for each in update.get("messages", [])}
        self.messages = [each for each in self.messages if each.id not in gone]
        self.known = update.get("token_buffer", self.known)
        return shown

    def calls(self, middleware: TokenBufferMiddleware | None, messages: Sequence[BaseMessage]) -> list[Any]:
        """Return what each call is shown as these messages come: before each reply, and last."""
        shown = []
        for message in messages:
            if message.type == "ai":
                shown.append(self.call(middleware))
            self.messages.append(message)
        return [*shown, self.call(middleware)]


def thinking_loop(steps: int) -> list[BaseMessage]:
    """A tool loop of a model that thinks at every step."""
    return [
        each.model_copy(update={"content": [THOUGHT, {"type": "text", "text": "I look."}]})
        if each.type == "ai"
        else each
        for each in tool_loop(steps, 20)
    ]


def thinking_chat(turns: int, start: int = 0) -> list[BaseMessage]:
    """A chat whose model thinks at every turn, of about 70 tokens each."""
    reply: list[Any] = [THOUGHT, {"type": "text", "text": repeat_word(30)}]
    pairs = [(HumanMessage(repeat_word(30), id=f"h{n}"), AIMessage(reply, id=f"a{n}")) for n in range(start, turns)]
    return [message for question, answer in pairs for message in (question, answer)]


def thoughts(shown: list[BaseMessage]) -> list[bool]:
    """For each AI message, whether it has thinking."""
    return [has_thinking(m) for m in shown if m.type == "ai"]


QUESTION = HumanMessage("And now?", id="now")


# --- the law ------------------------------------------------------------------------------------


def seal(messages: list[BaseMessage]) -> str:
    """What a model signs its thinking for: all before it, but for the thinking."""
    return repr(comparable([without_thinking(each) or each for each in messages]))


def thought_of(message: BaseMessage) -> dict[str, Any] | None:
    """The thinking block of a message."""
    blocks = message.content if isinstance(message.content, list) else []
    return next((each for each in blocks if isinstance(each, dict) and each["type"] == "thinking"), None)


def sign(reply: BaseMessage, shown: list[BaseMessage]) -> None:
    """Sign a reply's thinking for what was shown, and for the last thinking in it."""
    thought = thought_of(reply)
    if thought is not None:
        before = [each.id for each in shown if thought_of(each)]
        reply.content = [{**thought, "signature": seal(shown), "after": before[-1:]}, *reply.content[1:]]


def refused(shown: list[BaseMessage]) -> list[str | None]:
    """Ids of the messages whose thinking the provider refuses: signed for others, or not behind the same thinking."""
    found, before = [], list[str | None]()
    for place, message in enumerate(shown):
        thought = thought_of(message)
        if thought is not None:
            if thought["signature"] != seal(shown[:place]) or (before and thought["after"] != before):
                found.append(message.id)
            before = [message.id]
    return found


settings_of_a_phase = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "max_tokens": st.integers(40, 350),
            "trim_to": st.sampled_from(TRIM_TO),
            "evict_from_state": st.booleans(),
            "clear_results": st.booleans(),
        }
    ),
)


@settings(max_examples=examples(150))
@given(threads(thought=THOUGHT), st.lists(settings_of_a_phase, min_size=1, max_size=4))
def test_no_thinking_is_sent_that_was_signed_for_other_messages(
    messages: list[BaseMessage], phases: list[dict[str, Any] | None]
) -> None:
    thread = Thread(CHECKING_CLAUDE)
    for place, message in enumerate(messages):
        if message.type == "ai":
            phase = phases[place * len(phases) // len(messages)]
            middleware = None if phase is None else TokenBufferMiddleware(token_counter=count_words, **phase)
            try:
                shown = thread.call(middleware)
            except TokenBudgetError:
                return
            assert middleware is None or refused(shown) == []
            sign(message, shown)
        thread.messages.append(message)


# --- what is stale ------------------------------------------------------------------------------


def moves(model: Scripted = CLAUDE) -> list[tuple[bool, list[BaseMessage]]]:
    """Call by call of a loop: whether the window moved, and what was sent."""
    events: list[TrimEvent] = []
    shown = Thread(model).calls(middleware_within(on_trim=events.append), thinking_loop(30))
    return list(zip([event.moved for event in events], shown, strict=True))


def test_when_the_cut_moves_only_the_running_step_keeps_its_thinking() -> None:
    moved = [thoughts(window) for moved, window in moves() if moved]
    assert len(moved) > 3
    assert moved == [[False] * (len(each) - 1) + [True] for each in moved]


def test_a_model_that_refuses_stale_thinking_gets_none_of_the_running_step_either() -> None:
    moved = [thoughts(window) for moved, window in moves(CHECKING_CLAUDE) if moved]
    assert len(moved) > 3
    assert not any(any(each) for each in moved)


def test_steps_after_the_move_keep_their_thinking() -> None:
    calls = moves()
    first = next(i for i, (moved, _) in enumerate(calls) if moved)
    assert thoughts(calls[first + 1][1]) == [*thoughts(calls[first][1]), True]


def test_while_the_cut_holds_the_next_window_extends_the_last_one_with_its_thinking() -> None:
    assert all(now[: len(last)] == last for (_, last), (moved, now) in pairwise(moves()) if not moved)


def test_a_new_question_ends_the_running_step() -> None:
    ending = [AIMessage("Seen.", id="s"), HumanMessage(repeat_word(120), id="h"), AIMessage("x", id="x")]
    shown = Thread().calls(middleware_within(), [*thinking_loop(4), *ending])[-1]
    assert not any(thoughts(shown))


def test_the_window_names_the_messages_whose_thinking_was_left_out() -> None:
    events: list[TrimEvent] = []
    thread = Thread(messages=thinking_loop(30))
    shown = thread.call(middleware_within(on_trim=events.append))
    named = [thread.messages[i].id for i in events[0].window.thinned]
    assert named == [m.id for m in shown if m.type == "ai" and not has_thinking(m)]


def test_other_models_keep_all_their_thinking() -> None:
    other = Scripted(replies=[])
    thread = Thread(other)
    assert all(all(thoughts(shown)) for shown in thread.calls(middleware_within(), thinking_loop(30)))
    assert "shown" not in (thread.known or {})


def test_a_thread_that_adopts_the_middleware_loses_its_thinking_once_something_leaves() -> None:
    thread = Thread(messages=[*thinking_chat(10), QUESTION])
    shown = thread.call(middleware_within())
    assert len(shown) > 2
    assert not any(thoughts(shown))


def test_a_thread_that_adopts_the_middleware_keeps_its_thinking_while_all_is_shown() -> None:
    assert all(thoughts(Thread(messages=[*thinking_chat(3), QUESTION]).call(middleware_within())))


@pytest.mark.parametrize("evict", [False, True], ids=["kept", "evicted"])
def test_after_the_adoption_new_thinking_is_kept(evict: bool) -> None:  # noqa: FBT001
    thread = Thread(messages=[*thinking_chat(10), QUESTION])
    middleware = middleware_within(evict_from_state=evict)
    before, after = thread.calls(middleware, [thinking_chat(11, 10)[1], HumanMessage("So?", id="so")])
    assert thoughts(after) == [*thoughts(before), True]


def test_a_higher_limit_brings_back_messages_without_their_thinking() -> None:
    thread = Thread()
    thread.calls(middleware_within(300), [*thinking_chat(10), QUESTION])
    shown = thread.call(middleware_within(10_000))
    assert len(shown) == 21
    assert not any(thoughts(shown))


def test_replies_that_no_call_tells_of_lose_their_thinking_where_something_left() -> None:
    thread = Thread()
    thread.calls(middleware_within(), [*thinking_chat(10), QUESTION])
    thread.messages += thinking_chat(12, 10)
    shown = thread.call(middleware_within())
    assert [m.id for m in shown if has_thinking(m)] == []


def test_of_two_replies_in_a_row_only_the_first_answers_the_last_call() -> None:
    thread = Thread()
    thread.calls(middleware_within(), [*thinking_chat(10), QUESTION])
    thread.messages += [thinking_chat(11, 10)[1], thinking_chat(12, 11)[1], HumanMessage("So?", id="so")]
    assert not any(thoughts(thread.call(middleware_within())))


@pytest.mark.parametrize(("where", "kept"), [(0, False), (2, True)], ids=["before it", "behind it"])
def test_what_is_shortened_makes_the_thinking_behind_it_stale(where: int, kept: bool) -> None:  # noqa: FBT001
    events: list[TrimEvent] = []
    messages = thinking_loop(1)
    messages[where].content = repeat_word(500)
    shown = Thread(CHECKING_CLAUDE, messages=messages).call(middleware_within(on_trim=events.append))
    assert (list(events[0].window.clamped), thoughts(shown)) == ([where], [kept])


def test_what_is_shortened_later_makes_the_thinking_behind_it_stale() -> None:
    thread = Thread(CHECKING_CLAUDE)
    messages = thinking_loop(1)
    messages[0].content = repeat_word(500)
    before = thread.calls(middleware_within(2000), messages)[-1]
    after = thread.call(middleware_within(300))
    assert (len(before), len(after)) == (3, 3)
    assert (thoughts(before), thoughts(after)) == ([True], [False])


def test_a_message_that_was_changed_makes_the_thinking_behind_it_stale() -> None:
    thread = Thread()
    *_, shown = thread.calls(middleware_within(), [*thinking_chat(3), QUESTION])
    assert all(thoughts(shown))
    thread.messages[0] = HumanMessage("Something else.", id="h0")
    assert not any(thoughts(thread.call(middleware_within())))


@pytest.mark.parametrize(("model", "kept"), [(CLAUDE, True), (CHECKING_CLAUDE, False)], ids=["free", "checked"])
def test_another_system_prompt_makes_thinking_stale_where_it_is_checked(
    model: Scripted,
    kept: bool,  # noqa: FBT001
) -> None:
    thread = Thread(model)
    thread.calls(middleware_within(), [*thinking_chat(3), QUESTION])
    thread.system = "Come."
    assert thoughts(thread.call(middleware_within())) == [kept] * 3


def test_what_release_0_1_0_left_out_stays_out() -> None:
    thread = Thread(messages=[*thinking_chat(3), QUESTION], known={"thinned": ["a0"]})
    assert not any(thoughts(thread.call(middleware_within())))


def test_the_state_tells_of_one_call_in_plain_json() -> None:
    thread = Thread()
    *_, shown = thread.calls(middleware_within(), [*thinking_chat(10), QUESTION])
    length, stale_before, digest = thread.known["shown"]
    assert json.loads(json.dumps(thread.known)) == thread.known
    assert (length, type(stale_before), type(digest)) == (len(shown), int, str)


async def test_an_async_call_leaves_out_the_same() -> None:
    messages = [*thinking_chat(10), QUESTION]
    shown: list[BaseMessage] = []

    async def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        shown.extend(asked.messages)
        return ModelResponse(result=[])

    await middleware_within().awrap_model_call(request(messages, model=CLAUDE), handler)
    assert shown == Thread(messages=messages).call(middleware_within())


# --- where thinking stands ----------------------------------------------------------------------

TEXT = {"type": "text", "text": "So."}
REDACTED = {"type": "redacted_thinking", "data": "ZW5j"}
SIGNED_V1 = {"type": "reasoning", "reasoning": "Hm.", "extras": {"signature": "c2ln"}}
BEDROCK = {"type": "reasoning_content", "reasoning_content": {"text": "Hm.", "signature": "c2ln"}}
PLACES: dict[str, AIMessage] = {
    "Anthropic": AIMessage([THOUGHT, REDACTED, TEXT]),
    "v1": AIMessage(
        [SIGNED_V1, {"type": "non_standard", "value": REDACTED}, TEXT],
        response_metadata={"output_version": "v1", "model_provider": "anthropic"},
    ),
    "Bedrock's Converse": AIMessage([BEDROCK, TEXT]),
    "Bedrock's own shape": AIMessage([{"reasoningContent": {"reasoningText": {"text": "Hm."}}}, TEXT]),
    "ChatBedrock": AIMessage("So.", additional_kwargs={"thinking": {"text": "Hm.", "signature": "c2ln"}}),
    "OpenRouter": AIMessage("So.", additional_kwargs={"reasoning_content": "Hm.", "reasoning_details": [{}]}),
    "LiteLLM": AIMessage("So.", additional_kwargs={"thinking_blocks": [THOUGHT]}),
}


@pytest.mark.parametrize("place", PLACES)
def test_thinking_is_left_out_wherever_a_dialect_puts_it(place: str) -> None:
    thinned = without_thinking(PLACES[place])
    assert thinned is not None
    assert not has_thinking(thinned)
    assert texts_of([thinned]) == ["So."]
    assert "Hm" not in repr(thinned)


def test_leaving_thinking_out_changes_nothing_else_beside_the_content() -> None:
    extra = {"reasoning_content": "Hm.", "pinned": True}
    thinned = without_thinking(AIMessage("So.", additional_kwargs=extra, id="a"))
    assert thinned == AIMessage("So.", additional_kwargs={"pinned": True}, id="a")
    assert "reasoning_content" in extra


def test_a_message_of_nothing_but_thinking_is_shown_as_three_dots() -> None:
    assert texts_of([without_thinking(AIMessage([THOUGHT])) or AIMessage("")]) == ["..."]


def test_a_call_stays_where_its_thinking_is_left_out() -> None:
    thinned = without_thinking(ai_calling(("look", {}, "1"), content=[THOUGHT]))
    assert thinned is not None
    assert (thinned.content, call_ids(thinned)) == ([], ["1"])


def _anthropic(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_anthropic")
    model = module.ChatAnthropic(model="claude-sonnet-4-5", api_key="none")
    return model._get_request_payload(messages)["messages"]


def _converse(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_aws.chat_models.bedrock_converse")
    return module._messages_to_bedrock(messages)[0]


def _bedrock(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_aws.chat_models.bedrock")
    return module._format_anthropic_messages(messages)[1]


@pytest.mark.parametrize(
    ("place", "convert"),
    [
        ("Anthropic", _anthropic),
        ("v1", _anthropic),
        ("Bedrock's Converse", _converse),
        ("Anthropic", _converse),
        ("Anthropic", _bedrock),
        ("ChatBedrock", _bedrock),
    ],
)
def test_nothing_of_it_is_on_the_wire(place: str, convert: Callable[[list[BaseMessage]], Any]) -> None:
    def sent(reply: BaseMessage) -> str:
        return repr(convert([HumanMessage("q"), reply, HumanMessage("and?")]))

    thinned = without_thinking(PLACES[place])
    assert thinned is not None
    assert "Hm" in sent(PLACES[place])
    assert "Hm" not in sent(thinned)
    assert "ZW5j" not in sent(thinned)
    assert "So." in sent(thinned)


# --- whose thinking it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("claude-3-7-sonnet-latest", False),
        ("claude-sonnet-4-5@20250929", False),
        ("claude-opus-4-20250514", False),
        ("anthropic/claude-opus-4.5", False),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", False),
        ("claude-opus-5-20260901", False),
        ("claude-fable-5-1", True),
        ("anthropic/claude-fable-5.1:beta", True),
        ("eu.anthropic.claude-sonnet-5-5-20261001-v1:0", True),
        ("claude-opus-6", True),
    ],
)
def test_a_claude_is_known_by_its_name(name: str, checks: bool) -> None:  # noqa: FBT001
    assert provider_of(name).binds_thinking
    assert checks_thinking(name) == checks


class Profiled(Scripted):
    """A model that is asked for by the address of an inference profile."""

    model_id: str
    base_model_id: str


def test_a_bedrock_profile_is_known_by_its_base_model() -> None:
    model = Profiled(
        replies=[],
        model_name="arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
        model_id="arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
        base_model_id="anthropic.claude-sonnet-4-5-20250929-v1:0",
    )
    assert not any(thoughts(Thread(model, messages=[*thinking_chat(10), QUESTION]).call(middleware_within())))


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "in the content alone"])
def test_a_reasoning_item_of_openai_stays_in_front_of_its_calls(is_listed: bool) -> None:  # noqa: FBT001
    module: Any = pytest.importorskip("langchain_openai.chat_models.base")
    messages: list[BaseMessage] = [HumanMessage("Solve it.", id="h")]
    for n in range(20):
        content: list[Any] = [
            {"type": "reasoning", "id": f"rs_{n}", "summary": [], "encrypted_content": "gAAA" * 9},
            {"type": "function_call", "id": f"fc_{n}", "call_id": f"c{n}", "name": "look", "arguments": "{}"},
        ]
        reply = ai_calling(("look", {}, f"c{n}"), content=content) if is_listed else AIMessage(content)
        messages += [
            reply.model_copy(update={"id": f"a{n}"}),
            ToolMessage(repeat_word(20), tool_call_id=f"c{n}", id=f"t{n}"),
        ]
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING)
    for shown in Thread(Scripted(replies=[], model_name="gpt-5")).calls(middleware, messages):
        sent = module._construct_responses_api_input(shown)
        kinds = [item.get("type", "message") for item in sent]
        assert kinds == ["message", *["reasoning", "function_call", "function_call_output"] * (len(kinds) // 3)]
        numbers = [(item.get("id") or item["call_id"]).strip("rsfc_") for item in sent[1:]]
        assert all(len(set(numbers[i : i + 3])) == 1 for i in range(0, len(numbers), 3))
