"""What outlives a call: overflow limits, evicted messages, checkpoints, other processes."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    ToolMessage,
)
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import SecretStr

from langchain_tokenbuffer._agents import state as _state
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.replay import RULE
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import (
    ENCODING,
    FOREVER,
    Answers,
    Scripted,
    Small,
    agent_of,
    answers_invalid_calls,
    count_request,
    look,
    looking,
    request,
    run_agent,
    sent_by,
    thinking_replies,
    thread_config,
)
from tests.builders import count_words_by_threes, run_scripts, texts_of, tool_loop

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_tokenbuffer._agents.models import ModelReader

# --- evicting from the state --------------------------------------------------------------------


def run_evicting_agent(model: Scripted, **options: Any) -> dict[str, Any]:
    return run_agent(model, evict_from_state=True, **options)


def test_what_left_the_window_leaves_the_state() -> None:
    state = run_evicting_agent(Scripted(replies=looking(50)))
    assert count_request(state["messages"]) <= 600 + 60


def test_the_state_stays_valid() -> None:
    assert validate(run_evicting_agent(Scripted(replies=looking(50)))["messages"]) == []


def test_eviction_changes_no_window() -> None:
    one, other = Scripted(replies=looking(50)), Scripted(replies=looking(50))
    run_agent(one)
    run_evicting_agent(other)
    assert [[m.content for m in sent] for sent in other.seen] == [[m.content for m in sent] for sent in one.seen]


def test_eviction_changes_no_thinking() -> None:
    one, other = (Scripted(replies=thinking_replies(30), model_name="claude-opus-4-5") for _ in range(2))
    run_agent(one)
    run_evicting_agent(other)
    assert [[m.content for m in sent] for sent in other.seen] == [[m.content for m in sent] for sent in one.seen]


def test_every_evicted_message_was_handed_over_first() -> None:
    handed: list[BaseMessage] = []
    state = run_evicting_agent(Scripted(replies=looking(50)), on_evict=handed.extend)
    assert len(handed) + len(state["messages"]) == 1 + 2 * 50 + 1


def test_evicted_messages_come_whole_and_in_order() -> None:
    handed: list[BaseMessage] = []
    run_evicting_agent(Scripted(replies=looking(50)), on_evict=handed.extend)
    steps = [m.tool_calls[0]["args"]["at"] for m in handed if isinstance(m, AIMessage)]
    assert steps == list(range(len(steps)))


def test_what_is_handed_over_is_never_clamped() -> None:
    handed: list[BaseMessage] = []
    text = "word " * 2000
    model = Scripted(replies=looking(4))
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True, on_evict=handed.extend)
    agent = create_agent(model, [look(text)], middleware=[middleware])
    agent.invoke({"messages": [HumanMessage("Look.")]}, FOREVER)
    assert {m.text for m in handed if isinstance(m, ToolMessage)} >= {f"0: {text}"}


async def test_a_coroutine_function_is_awaited() -> None:
    handed: list[BaseMessage] = []

    async def keep(messages: list[BaseMessage]) -> None:
        handed.extend(messages)

    agent = agent_of(Scripted(replies=looking(50)), evict_from_state=True, on_evict=keep)
    await agent.ainvoke({"messages": [HumanMessage("Look.")]}, FOREVER)
    assert len(handed) > 50


def test_a_sync_run_refuses_a_coroutine_function_before_the_model_is_called() -> None:
    async def keep(messages: list[BaseMessage]) -> None: ...

    model = Scripted(replies=looking(1))
    with pytest.raises(TypeError, match="on_evict is a coroutine function"):
        run_evicting_agent(model, on_evict=keep)
    assert model.seen == []


def test_a_sync_run_refuses_an_object_with_an_async_call_before_the_model_is_called() -> None:
    class Keep:
        async def __call__(self, messages: list[BaseMessage]) -> None: ...

    model = Scripted(replies=looking(1))
    with pytest.raises(TypeError, match="on_evict is a coroutine function"):
        run_evicting_agent(model, on_evict=Keep())
    assert model.seen == []


async def test_an_async_run_takes_what_a_plain_handler_returns_for_no_awaitable() -> None:
    handed: list[BaseMessage] = []

    def keep(messages: list[BaseMessage]) -> Any:
        handed.extend(messages)
        return len(messages)

    agent = agent_of(Scripted(replies=looking(50)), evict_from_state=True, on_evict=keep)
    await agent.ainvoke({"messages": [HumanMessage("Look.")]}, FOREVER)
    assert len(handed) > 50


def test_a_message_that_is_not_in_the_state_is_not_removed() -> None:
    messages = tool_loop(30, 40)
    for i, message in enumerate(messages):
        message.id = f"m{i}"
    asked = request(messages)
    del asked.state["messages"][3:5]
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True)
    answer: Any = middleware.wrap_model_call(asked, Answers(AIMessage("ok")))
    removed = {message.id for message in answer.command.update["messages"]}
    assert removed.isdisjoint({"m3", "m4"})


def test_half_a_step_is_never_removed() -> None:
    messages = tool_loop(30, 40)
    for i, message in enumerate(messages):
        message.id = f"m{i}"
    asked = request(messages)
    asked.messages[2] = asked.messages[2].model_copy(update={"id": None})  # as LangChain inserts
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True)
    answer: Any = middleware.wrap_model_call(asked, Answers(AIMessage("ok")))
    removed = {message.id for message in answer.command.update["messages"]}
    assert removed.isdisjoint({"m1", "m2"})


@answers_invalid_calls
def test_an_error_langchain_added_to_a_step_is_not_left_behind() -> None:
    broken = InvalidToolCall(type="invalid_tool_call", name="look", args="{", id="broken", error="no JSON")
    model = Scripted(replies=[AIMessage("", invalid_tool_calls=[broken]), AIMessage("Done.")])
    agent = agent_of(model, saver=InMemorySaver(), evict_from_state=True, max_tokens=200)
    for text in ("Look.", "word " * 135):
        state = agent.invoke({"messages": [HumanMessage(text)]}, thread_config())
    assert (len(model.seen[1]), validate(state["messages"])) == (2, [])


def test_an_edited_message_is_not_clamped_to_the_size_of_the_old_one() -> None:
    saver = InMemorySaver()
    model = Scripted(replies=[*looking(2), *looking(0)])
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True)
    agent: Any = create_agent(model, [look("word " * 2000)], middleware=[middleware], checkpointer=saver)
    agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config())
    state = agent.get_state(thread_config()).values
    (clamped,) = state["token_buffer"]["sizes"]
    old = next(m for m in state["messages"] if m.id == clamped)
    agent.update_state(thread_config(), {"messages": [old.model_copy(update={"content": "short"})]})
    agent.invoke({"messages": [HumanMessage("And?")]}, thread_config())
    assert "short" in [m.content for m in model.seen[-1]]


def test_the_private_state_is_plain_json() -> None:
    saver = InMemorySaver()
    model = Small(replies=looking(8), allowed=500)
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True)
    agent: Any = create_agent(model, [look("word " * 2000)], middleware=[middleware], checkpointer=saver)
    agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config())
    held = agent.get_state(thread_config()).values["token_buffer"]
    assert json.loads(json.dumps(held)) == held


def test_without_eviction_and_overflow_the_private_state_stays_empty() -> None:
    saver = InMemorySaver()
    agent = agent_of(Scripted(replies=looking(50)), saver=saver)
    agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config())
    assert "token_buffer" not in agent.get_state(thread_config()).values


# --- threads, time and processes ----------------------------------------------------------------


def test_parallel_threads_of_one_middleware_do_not_mix() -> None:
    alone, both = Scripted(replies=looking(30)), Scripted(replies=[])
    agent_of(alone).invoke({"messages": [HumanMessage("Look.")]}, FOREVER)
    both.replies = [reply for reply in looking(30) for _ in range(2)]
    agent = agent_of(both, saver=InMemorySaver())
    for name in ("1", "2"):
        agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config(name), interrupt_before=["model"])
    for _ in range(31):
        for name in ("1", "2"):
            agent.invoke(None, thread_config(name), interrupt_before=["model"])
    sizes = [len(sent) for sent in alone.seen]
    assert ([len(s) for s in both.seen[::2]], [len(s) for s in both.seen[1::2]]) == (sizes, sizes)


def test_threads_that_share_a_conversation_see_the_same_windows() -> None:
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING)
    messages = tool_loop(60, 40)
    lengths = [length for length in range(1, 121, 2) for _ in range(4)]

    def window(length: int) -> list[BaseMessage]:
        return [*sent_by(middleware, request(messages[:length])).messages]

    def alone(length: int) -> list[BaseMessage]:
        fresh = TokenBufferMiddleware(600, token_counter=ENCODING)
        return [*sent_by(fresh, request(messages[:length])).messages]

    with ThreadPoolExecutor(8) as pool:
        windows = list(pool.map(window, lengths))
    assert windows == list(map(alone, lengths))


async def test_agents_that_run_at_once_under_one_middleware_see_what_each_would_alone() -> None:
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING)

    async def seen(name: str, shared: TokenBufferMiddleware) -> list[list[str]]:
        model = Scripted(replies=looking(20, id_=name))
        agent: Any = create_agent(model, [look()], middleware=[shared])
        await agent.ainvoke({"messages": [HumanMessage(f"Look for {name}.")]}, FOREVER)
        return [texts_of(sent) for sent in model.seen]

    names = [f"thing {n}" for n in range(8)]
    together = await asyncio.gather(*(seen(name, middleware) for name in names))
    alone = [await seen(name, TokenBufferMiddleware(600, token_counter=ENCODING)) for name in names]
    assert together == alone


def test_a_count_that_is_no_sum_keeps_every_request_within_the_budget() -> None:
    middleware = TokenBufferMiddleware(100, token_counter=count_words_by_threes)
    sent = [sent_by(middleware, request(tool_loop(60, 40)[:length])).messages for length in range(1, 121, 2)]
    assert max(count_words_by_threes([*messages]) for messages in sent) <= 100


def test_a_model_is_asked_once_how_it_counts() -> None:
    middleware = TokenBufferMiddleware(600)
    model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("unused"))
    for _ in range(2):
        sent_by(middleware, request(tool_loop(2, 40), model=model))
    read = cast("ModelReader", middleware._reader._read_model)._read
    assert read.cache_info().currsize == 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copied_middleware_sends_the_same_windows(again: Any) -> None:
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING)
    sent_by(middleware, request(tool_loop(20, 40)))
    want = sent_by(middleware, request(tool_loop(60, 40))).messages
    assert sent_by(again(middleware), request(tool_loop(60, 40))).messages == want


def test_a_pickled_middleware_carries_no_conversation() -> None:
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING)
    before = len(pickle.dumps(middleware))
    sent_by(middleware, request(tool_loop(60, 40)))
    assert len(pickle.dumps(middleware)) == before


def test_a_trim_event_pickles() -> None:
    events: list[TrimEvent] = []
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, on_trim=events.append)
    sent_by(middleware, request(tool_loop(60, 40)))
    assert pickle.loads(pickle.dumps(events)) == events


def test_going_back_in_time_the_windows_are_the_same() -> None:
    model = Scripted(replies=[*looking(30), *looking(30)[12:]])
    agent = agent_of(model, saver=InMemorySaver())
    agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config())
    before = [state for state in agent.get_state_history(thread_config()) if state.next == ("model",)]
    agent.invoke(None, before[-13].config | FOREVER)
    again = [[m.content for m in sent] for sent in model.seen[31:]]
    assert again == [[m.content for m in sent] for sent in model.seen[12:31]]


async def test_an_async_checkpointer_sees_the_same(tmp_path: Path) -> None:
    sync, twin = Scripted(replies=looking(30)), Scripted(replies=looking(30))
    run_agent(sync, evict_from_state=True)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "a.sqlite")) as saver:
        agent = agent_of(twin, saver=saver, evict_from_state=True)
        await agent.ainvoke({"messages": [HumanMessage("Look.")]}, thread_config())
    assert [len(sent) for sent in twin.seen] == [len(sent) for sent in sync.seen]


SETUP = """
import json
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from tests.agents.scripted import Small, agent_of, count_request, looking, thread_config
count_request([])  # the vocabulary is read once
"""
STEP = """
model = Small(replies=looking({steps})[{number}:], allowed=220)
with SqliteSaver.from_conn_string({path!r}) as saver:
    agent = agent_of(model, saver=saver, evict_from_state=True)
    asked = None if {number} else {{"messages": [HumanMessage("Look.")]}}
    if asked:
        agent.invoke(asked, thread_config(), interrupt_before=["model"])
    agent.invoke(None, thread_config(), interrupt_before=["model"])
print(json.dumps([[m.content for m in sent] for sent in model.seen]))
"""
STEPS = 4


def test_in_a_fresh_process_at_every_call_the_windows_are_the_same(tmp_path: Path) -> None:
    whole = Small(replies=looking(STEPS), allowed=220)
    run_agent(whole, evict_from_state=True)
    path = str(tmp_path / "a.sqlite")
    calls = [STEP.format(number=number, path=path, steps=STEPS) for number in range(STEPS + 1)]
    seen = [sent for printed in run_scripts(SETUP, *calls) for sent in json.loads(printed)]
    assert seen == [[m.content for m in sent] for sent in whole.seen]


def test_in_those_processes_something_was_learned_and_evicted() -> None:
    whole = Small(replies=looking(STEPS), allowed=220)
    state = run_agent(whole, evict_from_state=True)
    assert (whole.refusals, len(state["messages"]) < 2 * STEPS) == (1, True)


# --- counted once -------------------------------------------------------------------------------


def test_a_new_model_object_of_the_same_name_goes_on_with_the_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    middleware, pushed, push = TokenBufferMiddleware(600), [], WindowDriver.push

    def spy(self: WindowDriver, *args: Any) -> list[int]:
        pushed.append(args)
        return push(self, *args)

    monkeypatch.setattr(WindowDriver, "push", spy)
    for _ in range(2):
        model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("unused"))
        sent_by(middleware, request(tool_loop(20, 40), model=model))
    assert len(pushed) == len(tool_loop(20, 40))


def test_what_another_rule_has_saved_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    saver = InMemorySaver()
    model = Scripted(replies=[*looking(2), *looking(0)])
    middleware = TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True)
    tools = [look("word " * 2000)]
    agent: Any = create_agent(model, tools, middleware=[middleware], checkpointer=saver)
    agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config())
    private = agent.get_state(thread_config()).values["token_buffer"]
    monkeypatch.setattr(_state, "RULE", RULE + 1)
    agent.invoke({"messages": [HumanMessage("And?")]}, thread_config())
    after = agent.get_state(thread_config()).values.get("token_buffer", {})
    assert private["basis"][1:] == after.get("basis", private["basis"])[1:]
    assert private["basis"][0] + 1 == after["basis"][0]
