"""Every recorded agent run, played through `create_agent` at budgets from the least to all."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.errors import TokenBudgetError
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import (
    ENCODING,
    Played,
    Transcript,
    aplay,
    play,
    play_resumed,
    transcripts,
)
from tests.builders import comparable
from tests.clamping import min_tokens
from tests.oracle import breaches, current_question
from tests.scale import FULL, some

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

FILES = ("tau_airline_en", "swe_agent_en", "functionchat_ko")
PLACES = ("least", "low", "middle", "all")
COUNTER = TokenCounter(ENCODING)
RESUMED = 8 if FULL else 3  # transcripts of each file, where each call makes an agent anew


def fixed(script: Transcript) -> int:
    """What a request of this transcript costs beside its messages, in tokens."""
    system = [] if script.system is None else [SystemMessage(script.system)]
    return COUNTER.count(system, tools=script.tools())


def least(script: Transcript, full: Played) -> int:
    """The system prompt, the question and the newest step at their smallest, at every call."""

    def needs(history: list[BaseMessage]) -> int:
        question = current_question(history)
        unit = max(i for i, each in enumerate(history) if kind_of(each) in ("ai", "human"))
        stays = {*range(unit, len(history)), question} - {None}
        return sum(min_tokens(history[i], COUNTER) for i in stays if i is not None)

    return fixed(script) + max(needs(full.before(n)) for n in range(len(full.sent)))


def budgets_of(script: Transcript, full: Played) -> dict[str, int]:
    low = least(script, full)
    high = fixed(script) + COUNTER(full.state)
    return dict(zip(PLACES, (low, low + 97, (low + high) // 2, high * 64 // 63 + 64), strict=True))


class Checked:
    """What a run must be, call by call, found with an oracle of its own."""

    def __init__(self, script: Transcript, full: Played, place: str) -> None:
        self.script = script
        self.full = full
        self.place = place
        self.max_tokens = budgets_of(script, full)[place]
        self.events: list[TrimEvent] = []
        self.run = play(script, self.middleware(on_trim=self.events.append))

    def middleware(self, **options: Any) -> TokenBufferMiddleware:
        return TokenBufferMiddleware(self.max_tokens, token_counter=ENCODING, **options)

    def faults(self) -> list[str]:
        """Return every breach of a law, of every call."""
        run, name = self.run, f"{self.script.id} at {self.max_tokens}"
        found = [] if comparable(run.state) == comparable(self.full.state) else [f"{name}: mutated"]
        for number, sent in enumerate(run.sent):
            found += [f"{name}, call {number}: {each}" for each in self._faults(run, number, sent)]
        return found

    def _faults(self, run: Played, number: int, sent: list[BaseMessage]) -> list[str]:
        history = run.before(number)
        ids = [message.id for message in history]
        window = sent if self.script.system is None else sent[1:]
        question = current_question(history)
        cost = COUNTER.count(sent, tools=self.script.tools())
        found = [str(breach) for breach in breaches(sent)]
        found += [each.code for each in validate(sent)]
        if not window:
            return [*found, "empty"]
        if cost > self.max_tokens:
            found.append(f"{cost} tokens")
        if self.script.system is not None and sent[0].content != self.script.system:
            found.append("lost the system message")
        if window[-1].id != ids[-1]:
            found.append("lost the newest message")
        if question is not None and ids[question] not in {each.id for each in window}:
            found.append("lost the question")
        if [each.id for each in window] != [i for i in ids if i in {each.id for each in window}]:
            found.append("out of order")
        if number and not self.events[number].moved:
            last = run.sent[number - 1]
            if comparable(sent[: len(last)]) != comparable(last):
                found.append("the prefix changed")
        return found


@pytest.fixture(scope="module", params=FILES)
def checks(request: pytest.FixtureRequest, shared_data: Path) -> list[Checked]:
    """Every transcript of a file at every budget, played once."""
    return [
        Checked(script, full, place)
        for script in transcripts(shared_data, request.param)
        for full in [play(script)]
        for place in PLACES
    ]


def at(checks: list[Checked], place: str) -> list[Checked]:
    return [each for each in checks if each.place == place]


@pytest.mark.parametrize("place", PLACES)
def test_every_call_of_every_run_keeps_the_laws(checks: list[Checked], place: str) -> None:
    assert [fault for each in at(checks, place) for fault in each.faults()] == []


@pytest.mark.parametrize("place", PLACES)
async def test_async_sends_what_sync_sends(checks: list[Checked], place: str) -> None:
    for each in some(at(checks, place)):
        run = await aplay(each.script, each.middleware())
        assert list(map(comparable, run.sent)) == list(map(comparable, each.run.sent))


def test_with_room_for_all_everything_is_sent(checks: list[Checked]) -> None:
    for each in at(checks, "all"):
        assert list(map(comparable, each.run.sent)) == list(map(comparable, each.full.sent))


def test_one_token_below_the_least_is_an_error(checks: list[Checked]) -> None:
    for each in some(at(checks, "least")):
        most = each.max_tokens - 1
        with pytest.raises(TokenBudgetError) as raised:
            play(each.script, TokenBufferMiddleware(most, token_counter=ENCODING))
        assert (raised.value.tokens, raised.value.max_tokens) == (most + 1, most)


def test_a_middleware_that_holds_nothing_sends_the_same(checks: list[Checked]) -> None:
    class Forgetful(TokenBufferMiddleware):
        def _prepare(self, *args: Any) -> Any:
            self._reset_caches()
            return super()._prepare(*args)

    for each in some(at(checks, "low")):
        run = play(each.script, Forgetful(each.max_tokens, token_counter=ENCODING))
        assert list(map(comparable, run.sent)) == list(map(comparable, each.run.sent))


def sqlite(folder: Path) -> Callable[[], AbstractContextManager[SqliteSaver]]:
    return lambda: SqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite"))


def test_resumed_at_every_call_the_windows_are_the_same(checks: list[Checked], tmp_path: Path) -> None:
    for each in at(checks, "low")[:RESUMED]:
        run = play_resumed(each.script, sqlite(tmp_path), max_tokens=each.max_tokens)
        assert list(map(comparable, run.sent)) == list(map(comparable, each.run.sent))


@pytest.mark.parametrize("place", ["least", "low"])
def test_what_was_evicted_from_the_state_changes_no_window(checks: list[Checked], place: str) -> None:
    for each in at(checks, place)[:RESUMED]:
        options: dict[str, Any] = {"max_tokens": each.max_tokens, "evict_from_state": True}
        run = play_resumed(each.script, partial(nullcontext, InMemorySaver()), **options)
        assert list(map(comparable, run.sent)) == list(map(comparable, each.run.sent))


def test_the_questions_are_those_recorded(checks: list[Checked]) -> None:
    for each in checks:
        asked = [m.content for m in each.run.state if isinstance(m, HumanMessage)]
        assert asked == [text for turn in each.script.turns for text in turn]
