"""Transcripts from JSON values, in the shapes people have them.

Requests to the APIs and logs of them, LangChain's dumps, LangSmith's runs, LangGraph's states and checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from langchain_tokenbuffer._replay.messages import MessageReader, is_message
from langchain_tokenbuffer._replay.model_names import best_named, models_of
from langchain_tokenbuffer._replay.recognition import export_name, shown
from langchain_tokenbuffer._replay.requests import Request, models_in, replies_in, request_in
from langchain_tokenbuffer.errors import TokenBufferError
from langchain_tokenbuffer.order import repair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.violations import Violation

EXPECTED = (
    'a list of messages, {"messages": [...], "tools": [...]}, a request of OpenAI (chat or Responses), Anthropic or '
    "Gemini, JSONL of messages or of conversations, messages dumped by LangChain, a LangSmith run export, the state or "
    "checkpoint of a LangGraph thread, or a history of this package in a database"
)


ModelSource: TypeAlias = Literal["command", "file", "default"]
NAMELESS = "conversation"
"""The name of the only conversation of a file that gives it none."""


class UnreadableError(TokenBufferError):
    """A file that holds no conversation: what was found, and what is expected."""

    def __init__(self, found: str) -> None:
        super().__init__(f"found {found}; expected {EXPECTED}")
        self.found = found


@dataclass(frozen=True)
class Transcript:
    """One conversation, and the tools its model could call."""

    name: str  # its id in the file, else its place in it
    messages: list[BaseMessage]  # all of it
    tools: tuple[dict[str, Any], ...] = ()  # the schemas, as the file has them
    model: str | None = None  # its name, as the file has it, until the command gives another
    model_from: ModelSource = "default"  # who named it
    is_session: bool = False  # of a history: never an earlier state of another conversation

    @cached_property
    def mended(self) -> tuple[Violation, ...]:
        """What of it is out of order, and what the replay does about it; blank texts stay as they are."""
        return tuple(each for each in repair(self.messages)[1] if each.code in _ORDER)


_ORDER: Final = ("orphan_result", "missing_result", "first_not_human")


def transcripts_of(value: object, name: str = NAMELESS) -> list[Transcript]:
    """Return every conversation in a JSON value, in order.

    One that is the beginning of another is the same one earlier, as in a log of requests or a thread's history of
    states, and is left out. If there is none, or something beside it that is not known, that is an `UnreadableError`.
    """
    found = list(_conversations(value, name))
    if not any(each.messages for each in found):
        raise UnreadableError("no messages" if found else _described(value))
    return longest(found)


def _conversations(value: Any, name: str) -> Iterator[Transcript]:
    if isinstance(value, dict):
        yield from _in_dict(value, name)
    elif _is_list_of(value, is_message):
        yield transcript_of(name, _built(value))
    elif _is_list_of(value, _is_run):
        yield from _in_runs(value, name)
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            found = list(_conversations(item, f"{name} {number}"))
            if not found:
                raise UnreadableError(found=f"{_described(item)} at place {number} of {len(value)}")
            yield from found


def _in_dict(value: dict[str, Any], name: str) -> Iterator[Transcript]:
    name = str(id_) if isinstance(id_ := value.get("id"), str | int) else name
    answer = value.get("reply") or value.get("response")
    if _is_run(value):
        yield from _in_runs([value], name)
    elif isinstance(value.get("runs"), list):
        yield from _in_runs(value["runs"], name)
    elif (asked := request_in(value.get("request"))) is not None:
        yield from _exchanges(asked, answer, name, models_in(value))
    elif is_message(value):
        yield transcript_of(name, _built([value]))
    elif (asked := request_in(value)) is not None:
        yield from _exchanges(asked, answer, name)
    elif (inner := next((value[key] for key in _WRAPS if isinstance(value.get(key), dict)), None)) is not None:
        yield from _in_dict(inner, name)


_WRAPS = ("values", "channel_values", "checkpoint", "kwargs", "body")
"""A state, a checkpoint, a tuple around one; a prompt value that LangChain dumped; a line of OpenAI's batches."""


def _exchanges(asked: Request, answer: Any, name: str, models: Sequence[str] = ()) -> Iterator[Transcript]:
    """Yield what was asked with what was answered: several where requests went out in a batch."""
    named = best_named([*asked.models, *models_in(answer), *models])
    replies = chain(replies_in(answer), repeat([]))
    for number, (batch, reply) in enumerate(zip(asked.batches, replies, strict=False), 1):
        reader = MessageReader()
        _read(reader, batch)
        messages, new = reader.messages, _built(reply)
        # A graph answers with its whole state, a model with what is new.
        if not {*map(_identity, messages[-1:])} & {*map(_identity, new)}:
            _read(reader, reply)
        elif len(new) > len(messages):
            messages = new
        yield transcript_of(name if len(asked.batches) == 1 else f"{name} {number}", messages, asked.tools, named)


def transcript_of(
    name: str, messages: list[BaseMessage], tools: tuple[dict[str, Any], ...] = (), models: Sequence[str] = ()
) -> Transcript:
    """Return a conversation; where nothing beside its messages names the model, its newest reply may."""
    return Transcript(name, messages, tools, next(iter(models or models_of(messages)), None))


def _is_run(value: object) -> bool:
    """Tell whether this is one of LangSmith's runs."""
    keys = value.keys() if isinstance(value, dict) else set()
    return "inputs" in keys and bool(keys & {"run_type", "outputs"})


def _in_runs(runs: Sequence[Any], name: str) -> Iterator[Transcript]:
    """Yield the model calls of a trace, or where it has none whatever carries messages.

    A model call has what its graph does not show: the system message and the tools.
    """
    flat = [run for root in runs for run in _with_children(root)]
    asking = [(run, asked) for run in flat if (asked := request_in(_inputs(run))) is not None]
    models = [each for each in asking if each[0].get("run_type") == "llm"]
    for number, (run, asked) in enumerate(models or asking, 1):
        extra = run.get("extra")
        metadata = extra.get("metadata") if isinstance(extra, dict) else None
        yield from _exchanges(asked, run.get("outputs"), f"{name} {number}", models_in(metadata))


def _inputs(run: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a run was given, with the options of its model."""
    inputs, extra = run.get("inputs"), run.get("extra")
    params = extra.get("invocation_params") if isinstance(extra, dict) else None
    if not isinstance(inputs, dict):
        return None
    return {**params, **inputs} if isinstance(params, dict) else inputs


def _with_children(run: Any) -> Iterator[dict[str, Any]]:
    if isinstance(run, dict):
        yield run
        children = run.get("child_runs")
        for child in children if isinstance(children, list) else ():
            yield from _with_children(child)


def longest(found: Sequence[Transcript]) -> list[Transcript]:
    """Leave out what is empty, and what is the beginning of another."""
    if len(found) == 1:
        return [each for each in found if each.messages]
    beginnings: set[int] = set()
    stay: list[int] = []
    for place in sorted(range(len(found)), key=lambda place: -len(found[place].messages)):
        identities = map(_identity, found[place].messages)
        hashes = [*accumulate(identities, lambda before, each: hash((before, each)), initial=0)]
        if found[place].is_session:
            stay.append(place)
        elif hashes[-1] not in beginnings:
            beginnings.update(hashes)
            stay.append(place)
    return [found[place] for place in sorted(stay) if found[place].messages]


def _identity(message: BaseMessage) -> tuple[str, str, str]:
    """Return what two messages have in common that are the same."""
    calls = getattr(message, "tool_calls", None) or []
    return (message.type, repr(message.content), repr([(c["name"], c["args"]) for c in calls]))


def _built(raw: Sequence[Any]) -> list[BaseMessage]:
    reader = MessageReader()
    _read(reader, raw)
    return reader.messages


def _read(reader: MessageReader, raw: Sequence[Any]) -> None:
    for number, each in enumerate(raw, 1):
        if not is_message(each):
            raise UnreadableError(found=f"{_described(each)} where message {number} should be")
        try:
            reader.read(each)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise UnreadableError(found=f"a message {number} that cannot be built ({why})") from error


def _is_list_of(value: object, test: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(test, value))


def _described(value: object) -> str:
    """Name what was found by its shape: never quote message content."""
    if _is_list_of(value if isinstance(value, list) else [value], _is_run):
        return "runs that carry no messages"
    tool = export_name(value)
    if isinstance(value, dict):
        keys = f"an object with the keys {', '.join(map(shown, [*value][:6])) or '(none)'}"
        return f"{tool} ({keys})" if tool else keys
    if isinstance(value, list):
        return tool or (f"a list of {len(value)} that are no messages" if value else "an empty list")
    return "a text" if isinstance(value, str) else shown(value)
