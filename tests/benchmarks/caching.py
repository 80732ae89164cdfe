"""What trimming costs with a prompt cache, and how much of the conversation it keeps.

Real conversations are played call by call. A call costs its input tokens; those it has in common
with the beginning of the call before cost a tenth, from 1,024 tokens on. 100 is never trimming.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.middleware.types import ModelResponse
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    trim_messages,
)

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import ENCODING, Scripted, play, request, transcripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from langchain_core.tools import BaseTool

    Trim = Callable[[list[BaseMessage]], list[BaseMessage]]
    Way = Callable[["Conversation", int], Trim]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
COUNTER = TokenCounter(ENCODING)
CACHED, FLOOR = 0.1, 1024


@dataclass(frozen=True)
class Conversation:
    """A conversation as a model is asked to go on with it, call by call."""

    system: str | None
    tools: Sequence[BaseTool]
    histories: Sequence[list[BaseMessage]]

    @property
    def head(self) -> list[BaseMessage]:
        """The system message, if there is one."""
        return [] if self.system is None else [SystemMessage(self.system)]

    @property
    def tool_tokens(self) -> int:
        """What the tools cost, in tokens."""
        return COUNTER.count([], tools=self.tools) - COUNTER([])


class Cost(NamedTuple):
    """What a way of trimming came to, over all calls."""

    paid: float
    sent: int  # of the messages behind the system message, in tokens
    full: int  # the same without trimming
    over: int  # calls over the budget
    refused: int  # calls that a provider refuses: empty, or out of order
    calls: int


# --- conversations ------------------------------------------------------------------------------


def agents(name: str) -> Iterator[Conversation]:
    """Recorded agent runs, with stand-ins for their tools."""
    for script in transcripts(DATA, name):
        full = play(script)
        histories = [full.before(number) for number in range(len(full.sent))]
        yield Conversation(script.system, script.tools(), histories)


def long_chat() -> Iterator[Conversation]:
    """The English MemoryBank users, one after the other, as one chat."""
    messages: list[BaseMessage] = []
    histories: list[list[BaseMessage]] = []
    for line in (DATA / "memorybank_en.jsonl").read_text(encoding="utf-8").splitlines():
        for said in json.loads(line)["messages"]:
            if said["role"] == "user":
                messages.append(HumanMessage(said["content"]))
                histories.append(list(messages))
            else:
                messages.append(AIMessage(said["content"]))
    yield Conversation(None, [], histories)


# --- ways of trimming -----------------------------------------------------------------------------


def ours(trim_to: float, conversation: Conversation, budget: int) -> Trim:
    """`TokenBufferMiddleware`."""
    middleware = TokenBufferMiddleware(budget, token_counter=ENCODING, trim_to=trim_to)
    return partial(_handed_on, middleware, conversation)


def never(_: Conversation, __: int) -> Trim:
    """Send everything."""
    return lambda history: history


def trimmed(conversation: Conversation, budget: int) -> Trim:
    """`trim_messages` before every call, with the exact counter and room for the rest."""
    room = budget - conversation.tool_tokens

    def trim(history: list[BaseMessage]) -> list[BaseMessage]:
        window = trim_messages(
            [*conversation.head, *history],
            max_tokens=room,
            token_counter=COUNTER,
            include_system=bool(conversation.head),
            start_on="human",
        )
        return window[len(conversation.head) :]

    return trim


def newest(count: int, _: Conversation, __: int) -> Trim:
    """The hook of LangChain's docs: the first message and the newest few."""

    def trim(history: list[BaseMessage]) -> list[BaseMessage]:
        return history if len(history) <= count else [history[0], *history[1 - count :]]

    return trim


def cleared(conversation: Conversation, budget: int) -> Trim:
    """`ContextEditingMiddleware`: old tool results are blanked when the budget is passed."""
    edit = ClearToolUsesEdit(trigger=budget - conversation.tool_tokens - COUNTER(conversation.head))
    middleware = ContextEditingMiddleware(edits=[edit], token_counter=COUNTER)
    return partial(_handed_on, middleware, conversation)


def summarized(conversation: Conversation, budget: int) -> Trim:
    """`SummarizationMiddleware` with its defaults; its own calls are not charged."""
    room = budget - conversation.tool_tokens - COUNTER(conversation.head)
    middleware: Any = SummarizationMiddleware(
        FakeListChatModel(responses=["They talked about this and that. " * 12]),
        trigger=("tokens", max(room, 1)),
        token_counter=COUNTER,
    )
    state: list[BaseMessage] = []
    seen = 0

    def trim(history: list[BaseMessage]) -> list[BaseMessage]:
        nonlocal state, seen
        state, seen = [*state, *history[seen:]], len(history)
        update = middleware.before_model({"messages": list(state)}, None)
        if update:
            state = [m for m in update["messages"] if not isinstance(m, RemoveMessage)]
        return list(state)

    return trim


def _handed_on(
    middleware: Any, conversation: Conversation, history: list[BaseMessage]
) -> list[BaseMessage]:
    sent: list[BaseMessage] = []

    def handler(asked: Any) -> ModelResponse[Any]:
        sent.extend(asked.messages)
        return ModelResponse(result=[])

    system = conversation.head[0] if conversation.head else None
    middleware.wrap_model_call(
        request(history, model=MODEL, system_message=system, tools=list(conversation.tools)),
        handler,
    )
    return sent


MODEL = Scripted(replies=[])
WAYS: dict[str, Way] = {
    "never trimming": never,
    "TokenBufferMiddleware": partial(ours, 0.6),
    "… with trim_to=0.8": partial(ours, 0.8),
    "… with trim_to=0.5": partial(ours, 0.5),
    "… with trim_to=1.0": partial(ours, 1.0),
    "trim_messages": trimmed,
    "first and newest 6 messages": partial(newest, 7),
    "first and newest 20 messages": partial(newest, 21),
    "ContextEditingMiddleware": cleared,
    "SummarizationMiddleware": summarized,
}
OURS = "TokenBufferMiddleware"


# --- measuring ------------------------------------------------------------------------------------


def measure(conversations: Iterable[Conversation], budget: int, way: Way) -> Cost:
    """Play conversations; the tools' tokens are added to the budget."""
    paid, sent, full, over, refused, calls = 0.0, 0, 0, 0, 0, 0
    for conversation in conversations:
        tools = conversation.tool_tokens
        trim = way(conversation, budget + tools)
        last: list[tuple[Any, ...]] = []
        for history in conversation.histories:
            window = trim(history)
            messages = [*conversation.head, *window]
            prices = COUNTER.prices(messages, COUNTER.keys(messages))
            tokens = tools + COUNTER.constant + sum(prices)
            said = [_said(message) for message in messages]
            common = next(
                (i for i, (a, b) in enumerate(zip(said, last, strict=False)) if a != b),
                min(len(said), len(last)),
            )
            cached = tools + sum(prices[:common]) if last else 0
            cached = cached if cached >= FLOOR else 0
            paid += tokens - (1 - CACHED) * cached
            sent += sum(prices[len(conversation.head) :])
            full += COUNTER(history) - COUNTER.constant
            over += tokens > budget + tools
            refused += not window or bool(validate(messages))
            calls += 1
            last = said
    return Cost(paid, sent, full, over, refused, calls)


def _said(message: BaseMessage) -> tuple[Any, ...]:
    calls = getattr(message, "tool_calls", None)
    return (message.type, str(message.content), str(calls))


def main() -> None:
    """Print a table for each kind of conversation."""
    if not DATA.is_dir():
        print("The real transcripts are not beside this checkout.")
        return
    kinds: list[tuple[str, list[Conversation], int, int]] = [
        ("Airline agents", list(agents("tau_airline_en")), 2600, 85),
        ("Coding agents", list(agents("swe_agent_en")), 6000, 93),
        ("A long chat", list(long_chat()), 8000, 37),
    ]
    for name, conversations, budget, target in kinds:
        costs = {way: measure(conversations, budget, trim) for way, trim in WAYS.items()}
        whole = costs["never trimming"].paid
        print(f"\n### {name}, {budget:,} tokens\n")
        print("| way | input cost | conversation kept | calls over budget | calls refused |")
        print("| --- | --: | --: | --: | --: |")
        for way, cost in costs.items():
            print(
                f"| {way} | {100 * cost.paid / whole:.0f} | {100 * cost.sent / cost.full:.0f} % "
                f"| {cost.over} of {cost.calls} | {cost.refused} |"
            )
        own = costs[OURS]
        paid = 100 * own.paid / whole
        peers = [c for way, c in costs.items() if way != OURS and "…" not in way]
        better = [c for c in peers if c.paid <= own.paid and c.sent >= own.sent]
        verdict = "met" if paid <= target and not better else "MISSED"
        print(f"\nTarget: at most {target}, and no peer keeps as much for less: {verdict}.")


if __name__ == "__main__":
    main()
