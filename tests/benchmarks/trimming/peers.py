"""Ways to trim that other packages offer, each called as its own documentation says.

None is a dependency: the group `bench` installs them, and one that is missing is left out.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.benchmarks.trimming.policies import Policy
from tests.benchmarks.trimming.tokenizing import PER_MESSAGE, Exact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from tests.benchmarks.trimming.conversations import Conversation, Wire
    from tests.benchmarks.trimming.policies import Ask, Open, Window

MODEL = "gpt-4o"
PRIMING = 3
"""What a request costs once; none of them knows of it."""


def version_of(package: str) -> str | None:
    """Return a distribution's version, if it is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def llama_index(max_tokens: int) -> Open:
    """`ChatMemoryBuffer`, which its chat engines tell what stands before the history."""
    memories: Any = importlib.import_module("llama_index.core.memory")
    types: Any = importlib.import_module("llama_index.core.llms")
    exact = Exact()

    def as_theirs(place: int, message: Wire) -> Any:
        extra: Wire = {key: message[key] for key in ("tool_calls", "tool_call_id") if key in message}
        content = message["content"] or ""
        extra["place"] = place
        return types.ChatMessage(role=message["role"], content=content, additional_kwargs=extra)

    def open_(conversation: Conversation) -> Ask:
        memory = memories.ChatMemoryBuffer.from_defaults(token_limit=max_tokens, tokenizer_fn=exact.encode)
        theirs = [as_theirs(*each) for each in enumerate(conversation.wire)]
        seen = 0

        def ask(n: int) -> Window:
            nonlocal seen
            for each in theirs[seen:n]:
                memory.put(each)
            seen = n
            window = memory.get(initial_token_count=conversation.beside)
            return _at(conversation, [each.additional_kwargs["place"] for each in window])

        return ask

    return open_


def turnsafe(max_tokens: int) -> Open:
    """`fit(repair(messages))`, the quickstart's line, which takes the system message along."""
    theirs: Any = importlib.import_module("turnsafe")
    count = Exact().wire

    def open_(conversation: Conversation) -> Ask:
        room = max_tokens - conversation.tool_tokens - PRIMING

        def ask(n: int) -> Window:
            history = [*conversation.wire_head, *conversation.wire[:n]]
            mended = theirs.repair(history, provider="openai")
            window: list[Wire] = theirs.fit(mended, room, provider="openai", counter=count)
            return window

        return ask

    return open_


def rollmem(max_tokens: int) -> Open:
    """`RollingMemory` without a summarizer: it holds the buffer, the system message stands before.

    Its counter sees texts, so what a message costs beside its text is added here.
    """
    theirs: Any = importlib.import_module("rollmem")
    exact = Exact()

    def counted(text: str) -> int:
        return exact.text(text) + PER_MESSAGE

    def open_(conversation: Conversation) -> Ask:
        memory = theirs.RollingMemory(max_tokens - conversation.beside, token_counter=counted)
        seen = 0

        def ask(n: int) -> Window:
            nonlocal seen
            for place in range(seen, n):
                message = conversation.wire[place]
                calls = [theirs.ToolCall(id=call["id"], **call["function"]) for call in message.get("tool_calls") or []]
                memory.add_message(
                    message["role"],
                    message["content"] or "",
                    tool_calls=calls,
                    tool_call_id=message.get("tool_call_id"),
                    metadata={"place": place},
                )
            seen = n
            return _at(conversation, [each.metadata["place"] for each in memory.get_messages()])

        return ask

    return open_


class _ExactAdapter:
    """What llmbuffer asks of a provider's adapter; it documents how to bring one's own."""

    def __init__(self) -> None:
        self._count = Exact().wire

    def count_tokens(self, messages: Sequence[Wire]) -> int:
        """Count messages."""
        return sum(map(self._count, messages))

    def apply_cache_markers(self, messages: list[Wire], _: object) -> list[Wire]:
        """Leave them as they are, as for OpenAI."""
        return messages


def llmbuffer(mode: str, max_tokens: int) -> Open:
    """`PromptManager`, compacting by itself what it calls the long-lived history."""
    theirs: Any = importlib.import_module("llmbuffer")
    adapter = _ExactAdapter()

    def open_(conversation: Conversation) -> Ask:
        manager = theirs.PromptManager(
            static_system_prompt=conversation.system or "",
            transition_mode=mode,
            adapter=adapter,
            max_tokens=max_tokens - conversation.beside,
        )
        seen = 0

        def ask(n: int) -> Window:
            nonlocal seen
            manager.append_many(conversation.wire[seen:n])
            seen = n
            window: list[Wire] = manager.build_messages()
            return window

        return ask

    return open_


def ctx_compact(max_tokens: int) -> Open:
    """`compact` with its defaults: the first message, the newest four and what fits between."""
    theirs: Any = importlib.import_module("ctx_compact")
    count = Exact().wire

    def open_(conversation: Conversation) -> Ask:
        room = max_tokens - conversation.tool_tokens - PRIMING

        def ask(n: int) -> Window:
            history = [*conversation.wire_head, *conversation.wire[:n]]
            result = theirs.compact(history, max_tokens=room, count_tokens=count)
            window: list[Wire] = result.messages
            return window

        return ask

    return open_


def chatfit(max_tokens: int) -> Open:
    """`fit` with its own summarizer; it takes a model's name instead of a counter."""
    theirs: Any = importlib.import_module("chatfit")

    def open_(conversation: Conversation) -> Ask:
        room = max_tokens - conversation.tool_tokens

        def ask(n: int) -> Window:
            history = [*conversation.wire_head, *conversation.wire[:n]]
            window: list[Wire] = theirs.fit(history, room, model=MODEL).messages
            return window

        return ask

    return open_


def chatfit_memory(max_tokens: int) -> Open:
    """`ChatMemory`, which holds roles and texts alone."""
    theirs: Any = importlib.import_module("chatfit")

    def open_(conversation: Conversation) -> Ask:
        memory = theirs.ChatMemory(max_tokens - conversation.tool_tokens, model=MODEL)
        if conversation.system is not None:
            memory.set_system(conversation.system)
        seen = 0

        def ask(n: int) -> Window:
            nonlocal seen
            for message in conversation.wire[seen:n]:
                memory.add(message["role"], message["content"])
            seen = n
            window: list[Wire] = memory.render()
            return window

        return ask

    return open_


def tokentrim(max_tokens: int) -> Open:
    """`trim`; it takes a model's name instead of a counter, and writes into what it is given."""
    theirs: Any = importlib.import_module("tokentrim.tokentrim")

    def open_(conversation: Conversation) -> Ask:
        room = max_tokens - conversation.tool_tokens

        def ask(n: int) -> Window:
            history = [copy.copy(message) for message in conversation.wire[:n]]
            window: list[Wire] = theirs.trim(history, MODEL, system_message=conversation.system, max_tokens=room)
            return window

        return ask

    return open_


def _at(conversation: Conversation, places: Sequence[int]) -> list[BaseMessage]:
    return [*conversation.head, *(conversation.messages[place] for place in places)]


PEERS = [
    Policy("llama-index `ChatMemoryBuffer`", llama_index, "llama-index-core", most=20_000),
    Policy("turnsafe", turnsafe, "turnsafe"),
    Policy("rollmem", rollmem, "rollmem"),
    Policy("llmbuffer", partial(llmbuffer, "none"), "llmbuffer"),
    Policy("llmbuffer, `agent_cycle`", partial(llmbuffer, "agent_cycle"), "llmbuffer"),
    Policy("ctx-compact", ctx_compact, "ctx-compact"),
    Policy("chatfit `fit`", chatfit, "chatfit"),
    Policy("chatfit `ChatMemory`", chatfit_memory, "chatfit", chats_only=True),
    Policy("tokentrim", tokentrim, "tokentrim", most=20_000),
]
