"""What is trimmed: conversations, played call by call, in sets of one character with one budget.

The recorded ones are real and lie beside some checkouts; the generated ones are anybody's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    BaseMessage,
    SystemMessage,
    convert_to_messages,
    convert_to_openai_messages,
)

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer.counters import message_counter
from tests.benchmarks.trimming import generated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Wire = dict[str, Any]  # a message as OpenAI's clients send it

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "data"
ENCODING = "o200k_base"
COUNTER = TokenCounter(ENCODING)
COUNTS = message_counter(COUNTER)


@dataclass(frozen=True)
class Conversation:
    """A conversation with the places where a model is asked to go on with it."""

    system: str | None
    tools: tuple[Wire, ...]
    messages: tuple[BaseMessage, ...]  # without the system message

    @cached_property
    def calls(self) -> list[int]:
        """How many messages stand before each reply, and at the end where one is due."""
        replies = [i for i, message in enumerate(self.messages) if message.type == "ai"]
        is_due = self.messages[-1].type != "ai"
        return replies + [len(self.messages)] * is_due

    @property
    def head(self) -> list[BaseMessage]:
        """The system message, if there is one."""
        return [] if self.system is None else [SystemMessage(self.system)]

    @cached_property
    def wire_head(self) -> list[Wire]:
        """The same as dicts."""
        return _wire(self.head)

    @cached_property
    def wire(self) -> list[Wire]:
        """The messages as dicts."""
        return _wire(self.messages)

    @cached_property
    def tool_tokens(self) -> int:
        """What the tools cost beside the messages."""
        return COUNTER.count(self.head, tools=self.tools) - COUNTER(self.head)

    @cached_property
    def beside(self) -> int:
        """What a request costs beside the messages behind the system message."""
        return COUNTER(self.head) + self.tool_tokens

    @cached_property
    def largest(self) -> int:
        """What a request with the largest message alone would cost."""
        return self.beside + max(COUNTS.tokens(self.messages, COUNTS.keys(self.messages)))

    @cached_property
    def is_chat(self) -> bool:
        """Whether people and a model talk in turns, without tools."""
        kinds = [message.type for message in self.messages]
        return kinds == ["human", "ai"] * (len(kinds) // 2) + ["human"] * (len(kinds) % 2)


@dataclass(frozen=True)
class DataSet:
    """Conversations of one character, and the budget of a whole request."""

    name: str
    max_tokens: int
    conversations: tuple[Conversation, ...]

    @property
    def calls(self) -> int:
        """How often a model is asked."""
        return sum(len(each.calls) for each in self.conversations)

    @property
    def longest(self) -> int:
        """What the longest conversation costs, in tokens."""
        return max(COUNTER(each.messages) for each in self.conversations)

    @property
    def has_oversized(self) -> bool:
        """Whether some message has to be shortened to be sent at all."""
        return any(each.largest > self.max_tokens for each in self.conversations)

    @property
    def is_chat(self) -> bool:
        """Whether a memory that knows questions and answers alone can hold them."""
        return all(each.is_chat for each in self.conversations)


def sources() -> dict[str, Callable[[], Iterator[DataSet]]]:
    """Return where conversations can be had from, by name."""
    made: dict[str, Callable[[], Iterator[DataSet]]] = {"generated": generated_sets}
    return {"recorded": recorded_sets, **made} if RECORDINGS.is_dir() else made


def recorded_sets() -> Iterator[DataSet]:
    """Yield the real transcripts; short dialogs of one kind become one long session."""
    airline, coding = _records("tau_airline_en"), _records("swe_agent_en")
    korean = _records("functionchat_ko")
    yield _set("Airline agents", 3_000, airline, _stand_ins(airline))
    yield _set("Coding agents", 6_000, coding, _stand_ins(coding))
    yield _set("Korean assistant", 5_000, [_joined(korean)], _tools(korean))
    yield _set("English chat", 8_000, [_joined(_records("memorybank_en"))])
    yield _set("Chinese chat", 3_000, [_joined(_records("memorybank_zh"))])


def generated_sets() -> Iterator[DataSet]:
    """Yield what the seeded script writes: the same at each run."""
    shop, coding, korean = generated.shop(), generated.coding(), generated.korean()
    yield _set("Shop agents", 3_000, shop, _stand_ins(shop))
    yield _set("Tool loops", 4_000, coding, _stand_ins(coding))
    yield _set("Korean assistant", 3_000, korean, _stand_ins(korean))
    yield _set("English chat", 4_000, generated.english())
    yield _set("Chinese chat", 2_500, generated.chinese())
    yield _set("Oversized messages", 2_500, generated.oversized())


def _records(name: str) -> list[Wire]:
    lines = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _set(name: str, max_tokens: int, records: Iterable[Wire], tools: Sequence[Wire] = ()) -> DataSet:
    shared = tuple(tools)
    return DataSet(name, max_tokens, tuple(conversation(each, shared) for each in records))


def conversation(record: Wire, tools: tuple[Wire, ...] = ()) -> Conversation:
    """Return a record's messages, in OpenAI's format, as a conversation."""
    messages = convert_to_messages(record["messages"])
    system = str(messages.pop(0).content) if messages[0].type == "system" else None
    return Conversation(system, tools, tuple(messages))


def _joined(records: Iterable[Wire]) -> Wire:
    return {"messages": [message for record in records for message in record["messages"]]}


def _tools(records: Iterable[Wire]) -> list[Wire]:
    """Return the tools that come with the records, each name once."""
    return list({t["function"]["name"]: t for each in records for t in each["tools"]}.values())


def _stand_ins(records: Iterable[Wire]) -> list[Wire]:
    """Return a schema for each tool that is called somewhere: how it is called is all we know."""
    seen: dict[str, set[str]] = {}
    for record in records:
        for message in record["messages"]:
            for call in message.get("tool_calls") or []:
                arguments = json.loads(call["function"]["arguments"])
                seen.setdefault(call["function"]["name"], set()).update(arguments)
    return [_schema(name, sorted(seen[name])) for name in sorted(seen)]


def _schema(name: str, arguments: Iterable[str]) -> Wire:
    properties = {each: {"type": "string"} for each in arguments}
    parameters = {"type": "object", "properties": properties}
    function = {"name": name, "description": f"The tool {name}.", "parameters": parameters}
    return {"type": "function", "function": function}


def _wire(messages: Sequence[BaseMessage]) -> list[Wire]:
    converted: Any = convert_to_openai_messages(messages)
    return list(converted)
