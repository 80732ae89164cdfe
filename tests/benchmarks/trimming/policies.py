"""Ways to trim: ours and LangChain's. `peers` has those of other packages.

A policy is told the budget of a whole request; where it can only hold a part of it, it is given
what the rest leaves. It plays a conversation call by call, as its own documentation says.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.middleware.types import ModelResponse
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage, RemoveMessage, trim_messages
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenBuffer
from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from tests.agents.scripted import Scripted, request
from tests.benchmarks.trimming.tokenizing import ENCODING, Exact

if TYPE_CHECKING:
    from tests.benchmarks.trimming.conversations import Conversation, DataSet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic.memory import ConversationTokenBufferMemory as ClassicMemory

Messages: TypeAlias = list[BaseMessage]
Window: TypeAlias = Sequence[BaseMessage] | Sequence[dict[str, Any]]
Ask: TypeAlias = Callable[[int], Window]
"""The window, system message included, for the first so many messages."""
Open: TypeAlias = "Callable[[Conversation], Ask]"
MODEL = Scripted(replies=[])


@dataclass(frozen=True)
class Policy:
    """A way to trim.

    Attributes:
        name: As the tables call it.
        make: From the budget of a whole request, in tokens, to what plays conversations.
        package: The distribution it comes in.
        is_ours: Whether it is what this project offers.
        trim_to: Its low-water mark, where it has ours.
        chats_only: Whether it holds questions and answers alone, no tool calls.
        tools_only: Whether it trims tool results alone, so that a chat is none of its business.
        most: The longest conversation it is played on, in tokens: one that tokenizes everything
            again for each message it drops takes minutes for a longer one.
    """

    name: str
    make: Callable[[int], Open]
    package: str = "langchain"
    is_ours: bool = False
    trim_to: float | None = None
    chats_only: bool = False
    tools_only: bool = False
    most: int | None = None

    def why_not(self, data_set: DataSet) -> str | None:
        """Return why it does not play a data set, if it does not."""
        if self.chats_only and not data_set.is_chat:
            return "it holds no tool calls"
        if self.tools_only and data_set.is_chat:
            return "it trims tool results alone"
        if self.most is not None and data_set.longest > self.most:
            return (
                f"it tokenizes everything again for each message it drops, which takes minutes for "
                f"{data_set.longest:,} tokens"
            )
        return None


# --- ours -----------------------------------------------------------------------------------------


def middleware(trim_to: float, max_tokens: int) -> Open:
    """`TokenBufferMiddleware`: one for all conversations, as an agent has it."""
    return partial(_handed_on, TokenBufferMiddleware(max_tokens, token_counter=ENCODING, trim_to=trim_to))


def chain(trim_to: float, max_tokens: int) -> Open:
    """`TokenBuffer` before the model, with room for the tools."""

    def open_(conversation: Conversation) -> Ask:
        room = max_tokens - conversation.tool_tokens
        buffer = TokenBuffer(room, token_counter=ENCODING, trim_to=trim_to)
        return lambda n: buffer.trim([*conversation.head, *conversation.messages[:n]])

    return open_


def drop_in(trim_to: float, max_tokens: int) -> Open:
    """Our `ConversationTokenBufferMemory`."""

    def made(limit: int) -> Any:
        return ConversationTokenBufferMemory(llm=ENCODING, max_token_limit=limit, return_messages=True, trim_to=trim_to)

    return partial(_remembered, made, max_tokens)


# --- LangChain's ----------------------------------------------------------------------------------


def never(_: int) -> Open:
    """Send everything."""
    return lambda conversation: lambda n: [*conversation.head, *conversation.messages[:n]]


def trimmed(flags: dict[str, Any], max_tokens: int) -> Open:
    """`trim_messages` before every call."""
    count = Exact().messages

    def open_(conversation: Conversation) -> Ask:
        room = max_tokens - conversation.tool_tokens
        return lambda n: trim_messages(
            [*conversation.head, *conversation.messages[:n]],
            max_tokens=room,
            token_counter=count,
            **flags,
        )

    return open_


RECOMMENDED = {
    "strategy": "last",
    "start_on": "human",
    "end_on": ("human", "tool"),
    "include_system": True,
}


def classic(max_tokens: int) -> Open:
    """LangChain's `ConversationTokenBufferMemory`, with the model's own exact count."""
    model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("not used"))

    def made(limit: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated
            return ClassicMemory(llm=model, max_token_limit=limit, return_messages=True)

    return partial(_remembered, made, max_tokens)


def newest(count: int, _: int) -> Open:
    """The hook of LangChain's page on short-term memory, whose count is 3: by messages."""

    def hook(state: Messages) -> Messages:
        if len(state) <= count:
            return state
        return [state[0], *state[-count - len(state) % 2 :]]

    return partial(_stateful, hook)


def summarized(max_tokens: int) -> Open:
    """`SummarizationMiddleware` with its defaults; its own calls cost nothing here."""

    def open_(conversation: Conversation) -> Ask:
        middleware: Any = SummarizationMiddleware(
            FakeListChatModel(responses=["They talked about this and that. " * 12]),
            trigger=("tokens", max(1, max_tokens - conversation.beside)),
            token_counter=Exact().messages,
        )

        def hook(state: Messages) -> Messages:
            update = middleware.before_model({"messages": list(state)}, None)
            if not update:
                return state
            return [each for each in update["messages"] if not isinstance(each, RemoveMessage)]

        return _stateful(hook, conversation)

    return open_


def cleared(max_tokens: int) -> Open:
    """`ContextEditingMiddleware`: old tool results are blanked when the budget is passed."""

    def open_(conversation: Conversation) -> Ask:
        edit = ClearToolUsesEdit(trigger=max_tokens - conversation.beside)
        middleware = ContextEditingMiddleware(edits=[edit], token_counter=Exact().messages)
        return _handed_on(middleware, conversation)

    return open_


# --- how they are called --------------------------------------------------------------------------


def _handed_on(middleware: Any, conversation: Conversation) -> Ask:
    """Ask a middleware what it hands on to the model."""
    system = next(iter(conversation.head), None)
    tools = list(conversation.tools)

    def ask(n: int) -> Window:
        sent: Messages = []

        def handler(asked: Any) -> ModelResponse[Any]:
            sent.extend(asked.messages)
            return ModelResponse(result=[])

        history = conversation.messages[:n]
        middleware.wrap_model_call(request(history, model=MODEL, system_message=system, tools=tools), handler)
        return [*conversation.head, *sent]

    return ask


def _stateful(hook: Callable[[Messages], Messages], conversation: Conversation) -> Ask:
    """Run a hook before each call on what it left of the state, and what came since."""
    state: Messages = []
    seen = 0

    def ask(n: int) -> Window:
        nonlocal state, seen
        state, seen = hook([*state, *conversation.messages[seen:n]]), n
        return [*conversation.head, *state]

    return ask


def _remembered(made: Callable[[int], Any], max_tokens: int, conversation: Conversation) -> Ask:
    """Save turn by turn; its window goes before the question, for which there must be room."""
    exact = Exact()
    questions = [each for each in conversation.messages if each.type == "human"]
    longest = max(exact.messages([each]) for each in questions)
    memory = made(max_tokens - conversation.beside - longest)
    seen = 0

    def ask(n: int) -> Window:
        nonlocal seen
        *before, question = conversation.messages[seen:n]
        for said, reply in zip(before[::2], before[1::2], strict=True):
            memory.save_context({"input": said.content}, {"output": reply.content})
        seen = n - 1
        return [*conversation.head, *memory.load_memory_variables({})["history"], question]

    return ask


def _ours(name: str, make: Callable[[float, int], Open], trim_to: float, **options: Any) -> Policy:
    return Policy(name, partial(make, trim_to), is_ours=True, trim_to=trim_to, **options)


MIDDLEWARE = "`TokenBufferMiddleware`"
MEMORY = "our `ConversationTokenBufferMemory`"
OURS = [
    _ours(MIDDLEWARE, middleware, 0.6),
    _ours(f"{MIDDLEWARE}, `trim_to=0.8`", middleware, 0.8),
    _ours(f"{MIDDLEWARE}, `trim_to=0.5`", middleware, 0.5),
    _ours(f"{MIDDLEWARE}, `trim_to=1.0`", middleware, 1.0),
    _ours("`TokenBuffer`", chain, 0.6),
    _ours(MEMORY, drop_in, 1.0, chats_only=True),
    _ours(f"{MEMORY}, `trim_to=0.6`", drop_in, 0.6, chats_only=True),
]
LANGCHAIN = [
    Policy("never trimming", never),
    Policy("`trim_messages`, defaults", partial(trimmed, {}), "langchain-core"),
    Policy("`trim_messages`, as recommended", partial(trimmed, RECOMMENDED), "langchain-core"),
    Policy("classic `ConversationTokenBufferMemory`", classic, "langchain-classic", chats_only=True),
    Policy("LangChain's hook: first, newest 3", partial(newest, 3)),
    Policy("the same hook with newest 20", partial(newest, 20)),
    Policy("`SummarizationMiddleware`, its own calls free", summarized),
    Policy("`ContextEditingMiddleware`", cleared, tools_only=True),
]
