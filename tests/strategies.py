"""Conversations to try the laws on: real LangChain messages, and plain numbers for `_window`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from langchain_tokenbuffer._messages.slots import StandIn
from langchain_tokenbuffer._window.budget import Budget, MessageTokens, Oversize
from langchain_tokenbuffer._window.replay import Replay
from tests.reference import STAND_IN, M, piece_cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._messages.kinds import Kind
    from langchain_tokenbuffer._messages.slots import Piece

OVERSIZES: tuple[Oversize, ...] = ("clamp", "raise", "drop")
TRIM_TO = (0.3, 0.6, 1.0)
HUGE = 400

# --- texts ------------------------------------------------------------------------------------

_WORDS = (
    "one",
    "two",
    "tree",
    "{}",
    "안녕",
    "你好",
    "<|endoftext|>",
    "a,b",
    "🙂",
    "\ud83d",
    "x\ny",
)
_sizes = st.sampled_from([0, 1, 1, 2, 3, 5, 8, 13, 40])


@st.composite
def texts(draw: st.DrawFn, *, huge: bool = False) -> str:
    """A text of a few to many words; `huge` ones are larger than most budgets."""
    n = HUGE if huge else draw(_sizes)
    word, other = draw(st.sampled_from(_WORDS)), draw(st.sampled_from(_WORDS))
    return " ".join([word, other][i % 2] for i in range(n))


def _content(text: str, *, as_blocks: bool) -> str | list[str | dict[str, object]]:
    if not as_blocks:
        return text
    half = len(text) // 2
    return [{"type": "text", "text": text[:half]}, {"type": "text", "text": text[half:]}]


# --- messages ---------------------------------------------------------------------------------


@st.composite
def _step(draw: st.DrawFn, *, tools: bool, huge: bool, last: bool) -> list[BaseMessage]:
    """An AI message with its results; those of the last step may still be missing."""
    calls = draw(st.sampled_from([0, 0, 1, 1, 2, 3])) if tools else 0
    # A small pool: real transcripts repeat ids, within a conversation and within a step.
    ids = draw(st.lists(st.sampled_from(["a", "b", "call_1"]), min_size=calls, max_size=calls))
    made = [ToolCall(name="look", args={"q": " ".join(["w"] * draw(_sizes))}, id=each) for each in ids]
    as_blocks = draw(st.booleans())
    text = draw(texts(huge=huge and not calls))
    step: list[BaseMessage] = [AIMessage(content=_content(text, as_blocks=as_blocks), tool_calls=made)]
    answered = draw(st.permutations(ids))
    if last and draw(st.booleans()):
        answered = answered[: draw(st.integers(0, len(ids)))]
    big = draw(st.integers(0, 2)) if huge else None
    step += [
        ToolMessage(content=draw(texts(huge=position == big)), tool_call_id=each)
        for position, each in enumerate(answered)
    ]
    return step


@st.composite
def conversations(
    draw: st.DrawFn, *, pins: bool = True, max_turns: int = 5, huge: bool | None = None
) -> list[BaseMessage]:
    """A conversation whose calls and results are in order.

    Plain chats and tool loops, parallel calls, repeated call ids, none to two system messages,
    greetings, pins, empty texts, at most one huge message, calls still open at the end, system
    messages in the middle, several human messages in a row, and none at all.

    Args:
        draw: Hypothesis's.
        pins: Whether every tenth message is pinned.
        max_turns: How many turns at most.
        huge: Whether there is a huge message: in the last turn, nowhere, or perhaps anywhere.
    """
    messages: list[BaseMessage] = [
        SystemMessage(content=draw(texts())) for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2])))
    ]
    tools = draw(st.booleans())
    turns = draw(st.integers(int(huge is True), max_turns))
    huge_turn = turns - 1 if huge else None
    if huge is None:
        huge_turn = draw(st.sampled_from([None, None, *range(turns)]))
    greets = turns == 0 or draw(st.sampled_from([False, False, False, True]))
    if greets:
        messages += draw(_step(tools=tools, huge=False, last=turns == 0))
    for turn in range(turns):
        is_huge = turn == huge_turn
        huge_step = draw(st.integers(-1, 2)) if is_huge else None
        messages.append(
            HumanMessage(content=_content(draw(texts(huge=huge_step == -1)), as_blocks=draw(st.booleans())))
        )
        steps = draw(st.sampled_from([0, 1, 1, 2, 4] if tools else [0, 1, 1, 1, 2]))
        for step in range(steps):
            last = turn == turns - 1 and step == steps - 1
            messages += draw(_step(tools=tools, huge=step == huge_step, last=last))
            if draw(st.sampled_from([False] * 7 + [True])):
                messages.append(SystemMessage(content=draw(texts())))
    if pins:
        for message in messages:
            if draw(st.sampled_from([False] * 9 + [True])):
                message.additional_kwargs["pinned"] = True
    return messages


@st.composite
def disordered(draw: st.DrawFn) -> list[BaseMessage]:
    """A conversation in which messages are missing, doubled or out of place."""
    messages = draw(conversations(max_turns=4))
    for _ in range(draw(st.integers(1, 4))):
        if not messages:
            break
        at = draw(st.integers(0, len(messages) - 1))
        match draw(st.sampled_from(["lose", "repeat", "move", "orphan"])):
            case "lose":
                del messages[at]
            case "repeat":
                messages.insert(draw(st.integers(0, len(messages))), messages[at].model_copy())
            case "move":
                messages.insert(draw(st.integers(0, len(messages) - 1)), messages.pop(at))
            case _:
                messages.insert(at, ToolMessage(content=draw(texts()), tool_call_id="nobody"))
    return messages


@st.composite
def threads(draw: st.DrawFn, *, thought: dict[str, str] | None = None) -> list[BaseMessage]:
    """A conversation as an agent's state holds it: with ids; now and then one whose model thinks.

    Args:
        draw: Hypothesis's.
        thought: The block that such a model writes in front of its replies.
    """
    messages = draw(conversations(huge=draw(st.sampled_from([None, None, True]))))
    thinks = thought is not None and draw(st.booleans())
    for i, message in enumerate(messages):
        message.id = f"m{i}"
        if thinks and isinstance(message, AIMessage) and isinstance(message.content, list):
            message.content = [dict(thought or {}), *message.content]
    return messages


def max_tokens() -> st.SearchStrategy[int]:
    """Budgets from hopeless to generous, as `count_words` counts."""
    return st.one_of(st.integers(1, 40), st.integers(30, 150), st.integers(60, 350))


# --- numbers ----------------------------------------------------------------------------------

# One draw for each message, so that thousands of conversations stay cheap.
_SIZES = [(c, None if f is None else min(c, f)) for c in (0, 1, 2, 3, 5, 8, 13, 40) for f in (None, 0, 1, 2)]
_UNPINNED = [(cost, floor, False) for cost, floor in _SIZES]
_numbers = {
    True: st.sampled_from([*_UNPINNED * 9, *((cost, floor, True) for cost, floor in _SIZES)]),
    False: st.sampled_from(_UNPINNED),
}
_IN_ORDER = [M("ai", 0, calls) for calls in ((), (), ("a",), ("a", "b"), ("a", "a"), ("a", "b", "c"))]
_TORN = [
    *_IN_ORDER,
    *(M("tool", 0, results=results) for results in (("a",), ("b",), ("c",), ("a", "b"))),
    *(M(kind, 0) for kind in ("system", "other", "human")),
    M("human", 0, results=("a",)),
    M("human", 0, results=("a", "b")),
    M("human", 0, notification=True),
    M("ai", 0, ("b",), results=("a",)),
    M("ai", 0, compacts=True),
]
_turns = {
    True: st.lists(st.sampled_from(_IN_ORDER), max_size=6),
    False: st.lists(st.sampled_from([*_IN_ORDER * 2, *_TORN]), max_size=8),
}


@st.composite
def numbers(draw: st.DrawFn, *, in_order: bool = False, pins: bool = True) -> list[M]:
    """A conversation in numbers, by default every second one with messages out of place."""
    shapes = [M("system", 0)] * draw(st.integers(0, 2))
    if draw(st.sampled_from([False, False, True])):
        shapes.append(M("ai", 0))
    is_ordered = in_order or draw(st.booleans())
    for _ in range(draw(st.integers(0, 5))):
        shapes.append(M("human", 0))
        for shape in draw(_turns[is_ordered]):
            shapes.append(shape)
            # A step that is torn lacks results, or has them too late.
            if is_ordered or draw(st.booleans()):
                shapes += [M("tool", 0, results=(each,)) for each in shape.calls]
    drawn = draw(st.lists(_numbers[pins], min_size=len(shapes), max_size=len(shapes)))
    return [
        replace(shape, cost=cost, floor=floor, pinned=pinned)
        for shape, (cost, floor, pinned) in zip(shapes, drawn, strict=True)
    ]


def budgets(
    *oversizes: Oversize, drop_if_unclampable: bool = False, clear_results: bool = False
) -> st.SearchStrategy[Budget]:
    """Budgets in numbers."""
    return st.builds(
        Budget,
        max_tokens=st.sampled_from([1, 5, 10, 20, 30, 50, 80, 120]),
        trim_to=st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]),
        fixed=st.sampled_from([0, 3]),
        oversize=st.sampled_from(oversizes or OVERSIZES),
        drop_if_unclampable=st.just(drop_if_unclampable),
        clear_results=st.just(clear_results),
    )


class SourceOf:
    """Tells a replay the smallest sizes of messages in numbers, and what mending costs."""

    def __init__(self, messages: Sequence[M]) -> None:
        self.messages = messages

    def min_tokens(self, index: int) -> int:
        message = self.messages[index]
        return message.cost if message.floor is None else message.floor

    def mended_tokens(self, slot: StandIn | Piece) -> int:
        if isinstance(slot, StandIn):
            return STAND_IN
        message = self.messages[slot.index]
        results = range(len(message.results)) if slot.results is None else slot.results
        return piece_cost(message, tuple(results), rest=slot.rest)


def in_numbers(m: M, clamped: int | None = None) -> MessageTokens:
    """Return a message as the replay takes it."""
    kind = cast("Kind", m.kind)
    return MessageTokens(kind, m.cost, m.calls, m.results, (), m.pinned, m.notification, m.compacts, clamped)


def replay_of(messages: Sequence[M], budget: Budget) -> Replay:
    """Push a conversation in numbers through a replay."""
    replay = Replay(budget)
    for m in messages:
        replay.push(in_numbers(m), SourceOf(messages))
    return replay
