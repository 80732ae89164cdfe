"""The tokens of a conversation or a whole request, each message counted once.

`TokenCounter` asks the model, as LangChain does, and repairs what the model gets wrong: it is additive where the
model's count is, caches every count by the message's content, and raises neither on a text nor on a model's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_tokenbuffer._counting.reported_usage import anchored, reports
from langchain_tokenbuffer._counting.resolve import Exact, resolve, served_name
from langchain_tokenbuffer._messages.convert import as_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from os import PathLike

    from langchain_core.language_models import BaseLanguageModel
    from langchain_core.messages import AIMessage, MessageLikeRepresentation
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    from langchain_tokenbuffer._counting.message_counters import CountMessages, MessageCounter
    from langchain_tokenbuffer._counting.resolve import ModelName
    from langchain_tokenbuffer._counting.tokenizers import Encoder
    from langchain_tokenbuffer._messages.convert import MessagesLike

CountedBy: TypeAlias = (
    "BaseLanguageModel[Any] | Runnable[Any, AIMessage] | str | PathLike[str] | Encoder "
    "| CountMessages | TokenCounter | ModelName | MessageCounter"
)
"""What `token_counter` takes: a model, also one with bound tools or fallbacks, its name, an encoding name, the path of
a `tokenizer.json`, a tokenizer object, or a callable on a list of messages."""
Tool: TypeAlias = "dict[str, Any] | type | Callable[..., Any] | BaseTool"


class TokenCounter:
    """Counts what a conversation costs, each message once.

    Law: the counts of unchanged messages are never taken twice. They are cached process-wide with the tokenizer, by
    content, so a new counter over the same model finds them too, and a message that is changed is counted anew. Edge:
    the cache is bounded (262,144 counts a tokenizer) and holds hashes, no texts; a changed message would go unseen only
    at a collision of 64-bit hashes.

    It has LangChain's own shape, so it also plugs into `trim_messages(token_counter=...)`,
    `SummarizationMiddleware(token_counter=...)` and `ContextEditingMiddleware(token_counter=...)`.

    Args:
        token_counter: What counts. A chat model or LLM (bound tools and options are seen through), a model's name such
            as `"gpt-4o"` or `"claude-sonnet-4-5"`, an encoding name of tiktoken (counted in OpenAI's chat format), a
            tokenizer object or the path of a `tokenizer.json` (in its chat template, else as before), another
            `TokenCounter`, or any callable from a list of messages to an int, such as `len` or
            `count_tokens_approximately`.
        exact: `"local"` never asks a provider; a model whose own counting is a remote call is estimated instead.
            `"remote"` asks it, once a count. Another `TokenCounter` brings its own.

    Raises:
        TypeError: If `token_counter` is none of these.
        ValueError: If the name or `exact` is unknown.

    Example:
        ```python
        counter = TokenCounter("o200k_base")
        counter([HumanMessage("Hello!")])  # 3 for the request, 3 + 1 + 2 for the message
        ```
    """

    def __init__(self, token_counter: CountedBy, *, exact: Exact = "local") -> None:
        """Resolve what counts; load nothing yet."""
        if exact not in ("local", "remote"):
            msg = f"exact must be 'local' or 'remote', got {exact!r}"
            raise ValueError(msg)
        if isinstance(token_counter, TokenCounter):
            exact, token_counter = token_counter.exact, token_counter.token_counter
        self.token_counter: CountedBy = token_counter
        self.exact: Exact = exact
        self._counter = resolve(token_counter, exact)

    def __call__(self, messages: MessagesLike | Iterable[MessageLikeRepresentation]) -> int:
        """Return what the messages cost as one request, in tokens.

        Raises:
            TypeError: If a callable returns something that is not an int.
            ValueError: If a callable returns a negative count.
        """
        return self._counter.whole(as_messages(messages))

    def count(
        self,
        messages: MessagesLike,
        tools: Sequence[Tool] = (),
        response_format: dict[str, Any] | type | None = None,
        anchor: bool = False,  # noqa: FBT001, FBT002  # the signature is fixed
    ) -> int:
        """Return what a whole request costs, in tokens: messages, tools and response format.

        Law: for OpenAI's chat models it is what the bill says, `usage.prompt_tokens`; what no rule is known for rounds
        up. `docs/counting.md` says how near other models' counts are. Edge: a bill also depends on what is not asked
        here, such as `tool_choice` (up to 10 tokens) or another provider's thinking.

        Args:
            messages: The messages of the request.
            tools: Whatever `bind_tools` takes.
            response_format: A pydantic class, a JSON schema, or OpenAI's dict around one.
            anchor: States that `messages` is the complete conversation as it was sent. Where counting is an estimate
                the usage that the last AI message reports then stands for everything up to it, tools included, and only
                what follows is estimated. Where it is exact the report says what stood beside the messages. Reports of
                another model are ignored; without any the count is as without an anchor.
        """
        messages, counter = as_messages(messages), self._counter
        if anchor and (found := reports(messages, served_name(self.token_counter))):
            if counter.additive:
                borrowed = counter.borrowed_tokenizer
                return max(0, anchored(messages, found, lambda m: sum(counter.tokens(m)), borrowed_tokenizer=borrowed))
            last = max(found)
            return max(0, self(messages) + found[last].input - self(messages[:last]))
        return max(0, self(messages) + counter.overhead(tools, response_format, messages))

    def describe(self) -> str:
        """Say what counts, and how exact it is."""
        return self._counter.what

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what was asked for; locks and cached counts stay with the process."""
        return {"token_counter": self.token_counter, "exact": self.exact}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Resolve anew."""
        self.__init__(**state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        """Tell whether both count the same way with the same thing."""
        return isinstance(other, TokenCounter) and self.__getstate__() == other.__getstate__()

    __hash__ = None  # type: ignore[assignment]  # models are not hashable

    def __repr__(self) -> str:
        """Name what counts, without a model's keys and options."""
        return f"TokenCounter({self.describe()})"


def message_counter(counter: TokenCounter) -> MessageCounter:
    """Return what a `TokenCounter` counts messages with: all surfaces ask it for more than users need."""
    return counter._counter  # noqa: SLF001  # the one way in
