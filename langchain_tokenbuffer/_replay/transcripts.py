"""Transcripts from JSON values, in the shapes people have them.

OpenAI's and Anthropic's requests and logs of them, LangChain's dumps, LangSmith's runs, LangGraph's states and
checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.messages import is_message, messages_of
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

EXPECTED = (
    'a list of messages, {"messages": [...], "tools": [...]}, JSONL of messages or of conversations, messages dumped '
    "by LangChain, a LangSmith run export, or the state or checkpoint of a LangGraph thread"
)


class UnreadableError(TokenBufferError):
    """A file that holds no conversation: what was found, and what is expected."""

    def __init__(self, found: str) -> None:
        super().__init__(f"found {found}; expected {EXPECTED}")


@dataclass(frozen=True)
class Transcript:
    """One conversation, and the tools its model could call."""

    name: str  # its id in the file, else its place in it
    messages: list[BaseMessage]  # all of it
    tools: tuple[dict[str, Any], ...] = ()  # the schemas, as the file has them


def transcripts_of(value: object, name: str = "conversation") -> list[Transcript]:
    """Return every conversation in a JSON value, in order.

    One that is the beginning of another is the same one earlier, as in a log of requests or a thread's history of
    states, and is left out. If there is none, or something beside it that is not known, that is an `UnreadableError`.
    """
    found = list(_conversations(value, name))
    if not any(each.messages for each in found):
        raise UnreadableError("no messages" if found else _described(value))
    return _longest(found)


def _conversations(value: Any, name: str) -> Iterator[Transcript]:
    if isinstance(value, dict):
        yield from _in_dict(value, name)
    elif _is_list_of(value, is_message):
        yield Transcript(name, _built(value))
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
    if _is_run(value):
        yield from _in_runs([value], name)
    elif isinstance(value.get("runs"), list):
        yield from _in_runs(value["runs"], name)
    elif (asked := _asked(value.get("request"))) is not None:
        yield from _exchanges(asked, value.get("reply") or value.get("response"), name)
    elif isinstance(value.get("messages"), list):
        yield from _exchanges(value, None, name)
    elif is_message(value):
        yield Transcript(name, _built([value]))
    else:
        # A state, a checkpoint, a tuple around one; a prompt value that LangChain dumped.
        for key in ("values", "channel_values", "checkpoint", "kwargs"):
            if isinstance(value.get(key), dict):
                yield from _in_dict(value[key], name)
                return


def _exchanges(asked: dict[str, Any], answer: Any, name: str) -> Iterator[Transcript]:
    """Yield what was asked with what was answered: several where requests went out in a batch."""
    given, system = asked["messages"], asked.get("system")  # Anthropic's stands beside the messages
    batches = given if _is_list_of(given, lambda each: isinstance(each, list)) else [given]
    head = [{"role": "system", "content": system}] if system else []
    tools = tuple(next((asked[key] for key in ("tools", "functions") if _is_list_of(asked.get(key), _is_dict)), ()))
    replies = chain(_replies(answer), repeat([]))
    for number, (batch, reply) in enumerate(zip(batches, replies, strict=False), 1):
        messages, new = _built([*head, *batch]), _built(reply)
        # A graph answers with its whole state, a model with what is new.
        if not {*map(_identity, messages[-1:])} & {*map(_identity, new)}:
            new = [*messages, *new]
        yield Transcript(name if len(batches) == 1 else f"{name} {number}", new, tools)


def _replies(answer: Any) -> list[list[Any]]:
    """Return the messages of an answer, for each request of its batch."""
    if _is_list_of(answer, is_message):
        return [answer]
    if not isinstance(answer, dict):
        return []
    if is_message(answer):
        return [[answer]]
    if isinstance(answer.get("generations"), list):
        return [_chosen(choices) for choices in answer["generations"]]
    if isinstance(answer.get("choices"), list):
        return [_chosen(answer["choices"])]
    return _replies(answer.get("messages", answer.get("output")))


def _chosen(choices: Any) -> list[Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return [message] if is_message(message) else []


def _is_run(value: object) -> bool:
    """Tell whether this is one of LangSmith's runs."""
    keys = value.keys() if isinstance(value, dict) else set()
    return "inputs" in keys and bool(keys & {"run_type", "outputs"})


def _in_runs(runs: Sequence[Any], name: str) -> Iterator[Transcript]:
    """Yield the model calls of a trace, or where it has none whatever carries messages.

    A model call has what its graph does not show: the system message and the tools.
    """
    flat = [run for root in runs for run in _with_children(root)]
    asking = [(run, asked) for run in flat if (asked := _asked(run.get("inputs"))) is not None]
    models = [each for each in asking if each[0].get("run_type") == "llm"]
    for number, (run, asked) in enumerate(models or asking, 1):
        params = (run.get("extra") or {}).get("invocation_params") or {}
        yield from _exchanges({**params, **asked}, run.get("outputs"), f"{name} {number}")


def _with_children(run: Any) -> Iterator[dict[str, Any]]:
    if isinstance(run, dict):
        yield run
        for child in run.get("child_runs") or ():
            yield from _with_children(child)


def _asked(inputs: Any) -> dict[str, Any] | None:
    """Return a run's inputs with their messages under that name; `None` if there are none."""
    if not isinstance(inputs, dict):
        return None
    for given in (inputs.get("messages"), inputs.get("input")):
        messages = given.get("messages") if isinstance(given, dict) else given
        if isinstance(messages, list):
            return {**inputs, "messages": messages}
    return None


def _longest(found: Sequence[Transcript]) -> list[Transcript]:
    """Leave out what is empty, and what is the beginning of another."""
    beginnings: set[int] = set()
    stay: list[int] = []
    for place in sorted(range(len(found)), key=lambda place: -len(found[place].messages)):
        identities = map(_identity, found[place].messages)
        hashes = [*accumulate(identities, lambda before, each: hash((before, each)), initial=0)]
        if hashes[-1] not in beginnings:
            beginnings.update(hashes)
            stay.append(place)
    return [found[place] for place in sorted(stay) if found[place].messages]


def _identity(message: BaseMessage) -> tuple[str, str, str]:
    """Return what two messages have in common that are the same."""
    calls = getattr(message, "tool_calls", None) or []
    return (message.type, repr(message.content), repr([(c["name"], c["args"]) for c in calls]))


def _built(raw: Sequence[Any]) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    for number, each in enumerate(raw, 1):
        if not is_message(each):
            raise UnreadableError(found=f"{_described(each)} where message {number} should be")
        try:
            messages += messages_of(each)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            why = str(error).splitlines()[0]
            raise UnreadableError(found=f"a message {number} that cannot be built ({why})") from error
    return messages


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _is_list_of(value: object, test: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(test, value))


def _described(value: object) -> str:
    """Name what was found by its shape: never quote message content."""
    if _is_list_of(value if isinstance(value, list) else [value], _is_run):
        return "runs that carry no messages"
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(str, [*value][:6])) or '(none)'}"
    if isinstance(value, list):
        return f"a list of {len(value)} that are no messages" if value else "an empty list"
    return "a text" if isinstance(value, str) else f"{value!r}"
