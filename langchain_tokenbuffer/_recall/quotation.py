"""How what was said earlier is quoted: a line of JSON for each passage, between two lines that nothing else can be.

A text from outside cannot end the quotation, begin a line, or spell what models read as the beginning of another role:
JSON escapes line breaks, and the few letters that such marks begin with are escaped, too. All others stay as they are:
a Korean line in escapes would cost ten times as much.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._messages.blocks import read_block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.messages import BaseMessage

BEGIN = "[Earlier messages of this conversation, quoted as JSON for reference]"
END = "[End of the quotation]"
_MARK = "recalled"
"""In a copy's `additional_kwargs`, true: it carries a quotation."""


class Quote(NamedTuple):
    """A passage of an earlier message."""

    kind: str  # of the message: human, ai, tool ...
    text: str

    @property
    def line(self) -> str:
        """The line that quotes it."""
        return f'{{"type": "{escaped(self.kind)}", "text": "{escaped(self.text)}"}}'


# `<` begins role marks and tags, `[` Mistral's; JSON's own escapes leave U+007F and the line ends of Unicode alone.
_UNSAFE = re.compile(
    "<|\\[(?=/?(?:INST|SYSTEM_|AVAILABLE_|TOOL_|THINK|End of the|Earlier mess))|[\x7f-\x9f\u2028\u2029\ud800-\udfff]",
    re.IGNORECASE,
)


def escaped(text: str) -> str:
    """Return a text as it stands between the quotation marks of a line."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False)[1:-1])


def quotation(quotes: Iterable[Quote]) -> str:
    """Return the text that quotes passages, in this order."""
    return "\n".join([BEGIN, *(quote.line for quote in quotes), END])


def is_quoted(message: BaseMessage) -> bool:
    """Tell whether a message carries a quotation already."""
    return quotation_in(message) is not None


def quotation_in(message: BaseMessage) -> str | None:
    """Return the quotation that a message carries, if it does."""
    if message.additional_kwargs.get(_MARK) is not True or (at := _quoting(message)) is None:
        return None
    content: Any = message.content
    text: str = content[: at - len(_GAP)] if isinstance(content, str) else content[at]["text"]
    return text


def with_quotation(message: BaseMessage, text: str) -> BaseMessage:
    """Return a marked copy of a question with a quotation before its text, behind the results it may carry."""
    content: str | list[Any]
    if isinstance(message.content, str):
        content = f"{text}{_GAP}{message.content}"
    else:
        at = _place_in(message.content)
        content = [*message.content[:at], {"type": "text", "text": text}, *message.content[at:]]
    extra = {**message.additional_kwargs, _MARK: True}
    return message.model_copy(update={"content": content, "additional_kwargs": extra})


def without_quotation(message: BaseMessage) -> BaseMessage:
    """Return a message as it was before `with_quotation`; itself, if it carries no quotation."""
    at = _quoting(message) if is_quoted(message) else None
    if at is None:
        return message
    content = message.content[at:] if isinstance(message.content, str) else _without(message.content, at)
    extra = {key: value for key, value in message.additional_kwargs.items() if key != _MARK}
    return message.model_copy(update={"content": content, "additional_kwargs": extra})


_GAP = "\n\n"


def _quoting(message: BaseMessage) -> int | None:
    """Return where in a content the quotation stands: up to which letter, or in which block."""
    content = message.content
    if isinstance(content, str):
        end = content.find(f"\n{END}{_GAP}") if content.startswith(f"{BEGIN}\n") else -1
        return None if end < 0 else end + len(f"\n{END}{_GAP}")
    return next((at for at, block in enumerate(content) if _is_quotation(block)), None)


def _is_quotation(block: object) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and text.startswith(f"{BEGIN}\n") and text.endswith(f"\n{END}")


def _place_in(blocks: list[Any]) -> int:
    """Return the place of the first block behind all results: providers want these first."""
    return max((at + 1 for at, block in enumerate(blocks) if read_block(block).row.role == "result"), default=0)


def _without(blocks: list[Any], at: int) -> list[Any]:
    return [*blocks[:at], *blocks[at + 1 :]]
