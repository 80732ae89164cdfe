"""Counted once, whatever happens: what many conversations, large results and long threads cost.

Ratios within one run, of processor time; what is compared alternates where it can.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from tests.benchmarks.overhead import MODEL, conversation, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain.agents.middleware.types import AgentMiddleware
    from langchain_core.runnables import RunnableConfig

LONG = 20_000
CONVERSATIONS = 64
WORDS = [
    "where",
    "what",
    "found",
    "nothing",
    "report",
    "data",
    "number",
    "and",
    "list",
    "of",
    "all",
    "orders",
    "in",
    "May",
]


def loop(steps: int, results: int, words: int) -> list[BaseMessage]:
    """A question, and steps with so many results of so many words."""
    chance = random.Random(3)
    messages: list[BaseMessage] = [HumanMessage("Research this.", id="question")]
    for step in range(steps):
        names = [f"call_{step}_{n}" for n in range(results)]
        calls = [ToolCall(name="search", args={"n": n}, id=each) for n, each in enumerate(names)]
        messages.append(AIMessage("", tool_calls=calls, id=f"step_{step}"))
        for name in names:
            found = " ".join(chance.choices(WORDS, k=words))
            messages.append(ToolMessage(found, tool_call_id=name, id=f"result_{name}"))
    return messages


def seconds(call: Callable[[], object]) -> float:
    """Time a call, in seconds of the processor."""
    gc.collect()
    start = time.process_time()
    call()
    return time.process_time() - start


def in_turn() -> float:
    """Return what a call of one of many conversations costs against one alone."""
    chats = [
        [each.model_copy(update={"id": f"{n}-{each.id}"}) for each in loop(12, 10, 300)] for n in range(CONVERSATIONS)
    ]
    alone, shared = TokenBufferMiddleware(4000), TokenBufferMiddleware(4000)
    for chat in chats:
        milliseconds(shared, chat)
    milliseconds(alone, chats[0])
    one, many = [], []
    for chat in chats:
        one.append(milliseconds(alone, chats[0]))
        many.append(milliseconds(shared, chat))
    return statistics.median(many) / statistics.median(one)


def large_results(steps: int, results: int, words: int) -> float:
    """Return what a first call costs against tokenizing the conversation once."""
    messages = loop(steps, results, words)
    once = seconds(lambda: TokenCounter(MODEL)(messages))
    return milliseconds(TokenBufferMiddleware(16_000), messages) / 1000 / once


def turn_of_an_agent() -> float:
    """Return what an agent's turn on a long thread costs against the same without us."""
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}

    def agent_with(middleware: Sequence[AgentMiddleware[Any, Any, Any]]) -> Any:
        model = FakeListChatModel(responses=["Done."])
        agent: Any = create_agent(model, [], middleware=middleware, checkpointer=InMemorySaver())
        agent.update_state(config, {"messages": conversation(LONG)})
        return agent

    counter = TokenCounter("o200k_base")
    agents = agent_with([TokenBufferMiddleware(8000, token_counter=counter)]), agent_with([])
    times: tuple[list[float], list[float]] = [], []
    for _ in range(7):
        for agent, spent in zip(agents, times, strict=True):
            spent.append(seconds(lambda agent=agent: agent.invoke(_question(), config)))  # type: ignore[misc]
    ours, theirs = (statistics.median(spent[1:]) for spent in times)
    return ours / theirs


def _question() -> dict[str, Any]:
    return {"messages": [HumanMessage("And now?")]}


def chat(length: int) -> list[BaseMessage]:
    """Questions and answers; before every third answer the model looks something up."""
    messages: list[BaseMessage] = []
    turn = 0
    while len(messages) < length:
        messages.append(HumanMessage(f"Question {turn}: what is there to be seen in the north?", id=f"q{turn}"))
        if turn % 3 == 0:
            args = {"path": f"north/{turn}.txt", "line": turn}
            made = [ToolCall(name="look", args=args, id=f"call_{turn}")]
            messages.append(AIMessage("", tool_calls=made, id=f"s{turn}"))
            messages.append(ToolMessage("Seen so far. " * 20, tool_call_id=f"call_{turn}", id=f"r{turn}"))
        messages.append(AIMessage(f"Answer {turn}: " + "nothing that was not there before. " * 3, id=f"a{turn}"))
        turn += 1
    return messages[:length]


def long_thread(messages: list[BaseMessage], call: Callable[[list[BaseMessage]], float]) -> float:
    """Return what a call on a long thread costs against reading and hashing each content."""
    call(messages[:-2])
    ours, floor = [], []
    for _ in range(15):
        ours.append(call(messages))
        floor.append(1000 * seconds(lambda: [hash(each.content) for each in messages]))
    return min(ours) / min(floor)


def long_threads() -> dict[str, float]:
    """Return that for a buffer and a middleware on a chat, and for a middleware in a tool loop."""
    buffer = TokenBuffer(8000, token_counter=MODEL)
    middlewares = [TokenBufferMiddleware(8000) for _ in range(2)]
    return {
        "TokenBuffer, a chat": long_thread(chat(LONG), lambda messages: 1000 * seconds(lambda: buffer.trim(messages))),
        "the middleware, a chat": long_thread(chat(LONG), partial(milliseconds, middlewares[0])),
        "the middleware, a tool loop": long_thread(conversation(LONG), partial(milliseconds, middlewares[1])),
    }


def main() -> None:
    """Print a table."""
    rows: list[tuple[str, float, float | None]] = [
        (f"{CONVERSATIONS} conversations in turn, against a call of one", in_turn(), 1.5),
        (
            "40 results of 10,000 words, counts known, against tokenizing them once",
            large_results(1, 40, 10_000),
            1.0,
        ),
        (
            "100 steps of 10 results of 3,000 words, the same",
            large_results(100, 10, 3000),
            1.0,
        ),
        (
            f"an agent's turn at {LONG:,} messages, against the same without us",
            turn_of_an_agent(),
            1.15,
        ),
        *(
            (f"a call at {LONG:,} messages, {what}, against reading and hashing each content", ratio, None)
            for what, ratio in long_threads().items()
        ),
    ]
    print("\n### Counted once (gpt-4o's tokenizer)\n")
    print("| what | ratio | target |")
    print("| --- | --: | --- |")
    for what, ratio, target in rows:
        verdict = "MISSED" if target and ratio > target else "met"
        wanted = "" if target is None else f"at most {target:g}x: {verdict}"
        print(f"| {what} | {ratio:.2f}x | {wanted} |")


if __name__ == "__main__":
    main()
