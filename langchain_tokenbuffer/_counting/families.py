"""What can be known of models that count alike: the fields of a row in `providers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._counting.estimates import ANY, Estimate
from langchain_tokenbuffer._counting.images import Media
from langchain_tokenbuffer._counting.tools import as_format, as_typescript, called_tool

ToolsText: TypeAlias = Callable[[Sequence[dict[str, Any]]], str]
"""Tools, as OpenAI's dicts, to the text in which a model sees them."""

FormatText: TypeAlias = Callable[[Any], "str | None"]
"""A response format to the text in which a model sees it; `None` if it sees nothing of it."""


class Own(NamedTuple):
    """A vocabulary that a package of its own brings, see `extras`."""

    extra: str  # of this package
    edition: str  # which of its vocabularies


@dataclass(frozen=True)
class Vocabulary:
    """What splits a model's texts into tokens."""

    encoding: str = vocabularies.FALLBACK  # of tiktoken: the model's own, or the one that is borrowed for it
    estimate: Estimate | None = None  # what its own makes of a text, by what `encoding` makes; `None`: `encoding` is it
    own: Own | None = None  # where the model's own can be had for it; counts instead of the estimate once installed


@dataclass(frozen=True)
class ChatFormat:
    """What a request costs beside its texts, in tokens. The defaults are GPT-4's and GPT-4o's.

    Published are `constant`, `per_message` and `per_name` (OpenAI cookbook), and `result` is what langchain-openai
    takes. The others are fitted on recorded requests, those of gpt-4o and gpt-4.1 here; another row says what its
    numbers rest on. "Residual" is bill less count.
    """

    constant: int = 3  # once, for the reply's beginning
    per_message: int = 3  # for each message, beside role and content
    role: bool = True  # whether a message's role is counted as text, beside `per_message`
    system: int = 0  # for a system message, beside `per_message`
    reply: int = 0  # for an AI message that calls no tool, beside `per_message`
    per_name: int = 1  # for a message's name, beside its text
    result: int = 3  # for a tool result's call id
    call: int = 1  # for a tool call beside its name and its arguments. 11 calls in 8 requests, residual 0.
    twice: bool = True  # whether each call says the name a second time, as a recipient: functions.name
    argument: int = 0  # for each argument of a call, beside its JSON text
    # Whether several calls of one message are sent as one. 1 request, residual -1. Else each is charged as a message of
    # its own, which rounds up.
    parallel: bool = True
    further: int = 0  # for each further call of a message where they are not, beside that
    text: int = 0  # for text of a message that also calls tools
    document: int = 0  # for a document, beside its text or pages
    cited: int = 0  # for a message with documents or search results that are to be cited, beside that
    prefill: int = 0  # where the last message is the model's own beginning of its reply
    # What the provider adds to a request by itself, beside the constant: its own prompt. Counted with whole requests
    # alone, so that a window of messages does not pay for it. 12 requests, residual 0.
    added: int = 0
    thinking: int = 0  # the same where the model object is set to think
    thought: int = 0  # for a message with thinking that is sent again, beside its text
    # Whether thinking of earlier turns is not billed again. A window counts it: where it will be cut is not known. Such
    # models are taken to be set to think where a message holds thinking and the model object does not say.
    forgets: bool = False
    task_budget: int = 0  # and where it is told how many tokens a task may take
    opening_reply: int = 0  # where the conversation begins with a reply, before which the provider puts something
    # For binding tools, beside what `tools_text` shows. The cookbook's example, 14 validated cases and 19 requests,
    # residual 0.
    tools: int = 3
    per_tool: int = 0  # for each tool, beside that
    # What tools cost less when a system message comes first, which they share. Of these, the 20 with a system message.
    merged: int = 4
    choice: int = 0  # where a tool must be called, by name or any
    named: int = 10  # where it must be one by name, beside that. It rounds up: GPT-4's is the name and 4. 4 requests.
    tools_text: ToolsText = as_typescript
    format_text: FormatText = as_format
    # For a response format beside what `format_text` shows; `None`: it is not billed. 2 requests, residual 0.
    response_format: int | None = 1
    json_object: int = 0  # where any JSON object is asked for
    # For one without tools. It rounds up: such a format opens the system message that is not there.
    opening: int = 7
    formatted: int = 4  # for each AI message that calls no tool, where a response format is given. 2 requests.

    def choice_tokens(self, tool_choice: Any) -> int:
        """Return what a tool choice brings."""
        called = called_tool(tool_choice)
        return 0 if called is None else self.choice + self.named * (called == "named")


_MEDIA = Media()


@dataclass(frozen=True)
class Family:
    """Models of one provider that count alike."""

    vocabulary: Vocabulary = Vocabulary(estimate=ANY)
    chat: ChatFormat = ChatFormat()
    responses: ChatFormat | None = None  # in OpenAI's Responses API, where that is another
    media: Media = _MEDIA
