"""Plays a policy on a set and counts what its windows hold: each text is tokenized once, for all policies."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import tiktoken
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages

from tests.benchmarks.evidence.bootstrap import Share
from tests.benchmarks.trimming.measuring import Figures, Played, judge

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from tests.benchmarks.evidence.facts import Need
    from tests.benchmarks.evidence.sets import Case, EvidenceSet
    from tests.benchmarks.trimming.conversations import Conversation
    from tests.benchmarks.trimming.policies import Open, Policy, Window

Messages = list[BaseMessage]


@dataclass
class Evidence:
    """What the windows of a policy hold, by unit, and what they cost."""

    facts: dict[Hashable, Share] = field(default_factory=lambda: defaultdict(Share))  # in the window, of those needed
    whole: dict[Hashable, Share] = field(default_factory=lambda: defaultdict(Share))  # replies that have all of theirs
    figures: Figures = field(default_factory=Figures)

    def add(self, unit: Hashable, held: int, needed: int) -> None:
        """Count one reply."""
        facts, whole = self.facts[unit], self.whole[unit]
        self.facts[unit] = Share(facts.part + held, facts.whole + needed)
        self.whole[unit] = Share(whole.part + (held == needed), whole.whole + 1)


def measure(policy: Policy, chosen: EvidenceSet) -> Evidence:
    """Play a set call by call, and look in each window for what the next reply needs."""
    evidence, played = Evidence(), Played()
    open_ = policy.make(chosen.max_tokens)
    for case in chosen.cases:
        windows = dict(_windows(open_, case.conversation))
        played.windows.append(list(windows.values()))
        for need in case.needs:
            window = windows[need.call]
            if need.question is not None and policy.is_ours:  # it holds no state, so each question is asked
                window = _asked(open_, case, need)
            evidence.add(need.unit, case.finder.held(need.facts, window or []), len(need.facts))
    evidence.figures = judge(chosen.data_set, played)
    return evidence


def _asked(open_: Open, case: Case, need: Need) -> Messages | None:
    """Return the window in which the question itself is the newest message."""
    messages = (*case.conversation.messages[:-1], HumanMessage(need.question or ""))
    return _window(open_(dataclasses.replace(case.conversation, messages=messages)), len(messages), {})


def _windows(open_: Open, conversation: Conversation) -> Iterator[tuple[int, Messages | None]]:
    known = dict(zip(map(id, conversation.wire), conversation.messages, strict=True))
    ask = open_(conversation)
    for n in conversation.calls:
        yield n, _window(ask, n, known)


def _window(ask: Any, n: int, known: dict[int, BaseMessage]) -> Messages | None:
    """Return a window as messages, `None` if the policy raised."""
    try:
        window: Window = ask(n)
    except Exception:  # noqa: BLE001  # it is counted as a fault
        return None
    return [_as_message(each, known) for each in window]


def _as_message(message: BaseMessage | dict[str, Any], known: dict[int, BaseMessage]) -> BaseMessage:
    if isinstance(message, BaseMessage):
        return message
    return known.get(id(message)) or _converted(json.dumps(message, sort_keys=True))


@cache
def _converted(message: str) -> BaseMessage:
    return convert_to_messages([json.loads(message)])[0]


@contextlib.contextmanager
def counted_once() -> Iterator[None]:
    """Let tiktoken, which all count with, remember what it was asked, and the others not warn."""
    kept = {name: getattr(tiktoken.Encoding, name) for name in ("encode", "encode_ordinary")}

    def remembering(encode: Any) -> Any:
        known: dict[Any, list[int]] = {}

        def encoded(encoding: Any, text: str, **options: Any) -> list[int]:
            key = encoding.name, text, *map(str, options.items())
            if key not in known:
                known[key] = encode(encoding, text, **options)
            return known[key]

        return encoded

    for name, encode in kept.items():
        setattr(tiktoken.Encoding, name, remembering(encode))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, encode in kept.items():
            setattr(tiktoken.Encoding, name, encode)
