"""The request a plan becomes, and what the reply brings into the agent's state.

The only place that copies messages.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import is_not
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from langchain.agents.middleware.types import ExtendedModelResponse, ModelResponse
from langchain_core.messages import AIMessage, RemoveMessage, ToolMessage
from langgraph.types import Command
from typing_extensions import override

from langchain_tokenbuffer._agents.notes import run_around, thread_of_run
from langchain_tokenbuffer._agents.thinking import NO_RECORD
from langchain_tokenbuffer._messages.slots import index_of
from langchain_tokenbuffer._messages.thinking import without_thinking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import AnyMessage, BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import AddedBehind, Request
    from langchain_tokenbuffer._agents.plan import CallPlan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RenderedCall:
    """A model call as it is sent."""

    plan: CallPlan
    original: Request  # as it came
    request: Request  # with the window for its messages
    shown: Sequence[BaseMessage]  # the messages that are sent
    tokens: int  # what the request costs
    evicted: list[BaseMessage]  # the messages that are to leave the agent's state with the reply
    is_second_try: bool  # whether some of these should have left with an earlier reply, and did not

    def reusable_tokens(self) -> int:
        """Return how much of the request begins as the last call's did, in tokens."""
        call, messages = self.plan.call, self.plan.conversation.messages

        def count(message: BaseMessage) -> int:
            return self.plan.facts.counter.tokens([message])[0]

        saved = {
            slot: (call.clamped[slot] if slot in call.clamped else count(messages[slot])) - count(shown)
            for slot, shown in zip(self.plan.slots, self.shown, strict=True)
            if isinstance(slot, int) and shown is not messages[slot]
        }
        return call.reusable_tokens(saved)

    def made_of(self) -> dict[str, int]:
        """Return what the request's tokens are made of, by name; they add up to `tokens`.

        Where a report says what the request is billed, the counts are scaled to that.
        """
        facts = self.plan.facts
        system, tools, added = facts.fixed_tokens
        constant, reserve = facts.counter.constant, facts.reserved
        counted = {"system": system - constant, "tools": tools, "messages": facts.counter.whole(self.shown)}
        if added:
            counted["added"] = added
        billed, total = self.tokens - reserve, sum(counted.values()) or 1
        made_of = {name: n * billed // total for name, n in counted.items()}
        made_of["messages"] += billed - sum(made_of.values())
        return {**made_of, "reserve": reserve}

    def with_updates(
        self, response: ModelResponse[Any], handed_over: Sequence[BaseMessage], added: AddedBehind
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Return the response, with what changes in the agent's state: what was handed over is removed.

        `added` is what middlewares behind are known to add since this call.
        """
        plan, update = self.plan, dict[str, Any]()
        limits, shown = plan.state.limits_after(plan.conversation, self.tokens), plan.stale.record
        private = plan.state.save(plan.conversation, plan.call, shown, handed_over, limits, added=added)
        response = plan.state.notes.on_reply(
            response,
            handed_over,
            limits={model: each.dump() for model, each in limits.items()},
            shown=None if shown is NO_RECORD else list(shown),
            added=added.dump(),
        )
        if private is not None:
            update["token_buffer"] = private
        if handed_over:
            update["messages"] = [RemoveMessage(id=str(each.id)) for each in handed_over]
        if not update:
            return response
        command: Command[Any] = Command(update=update)
        if handed_over and not self.is_second_try:
            # A list of its own: whoever made the response may have kept it, to give it once more.
            response = replace(response, result=[*response.result])
            command = _UpdateWithReply(update, response.result)
        return ExtendedModelResponse(model_response=response, command=command)


class _UpdateWithReply(Command[Any]):
    """An update whose messages are written with the reply's, in front of them.

    LangGraph streams what a node has written as one dict, but as a list of dicts if it has written to one key twice.
    Outer middlewares read `result[0]`; they are done when LangGraph asks what the update is. `result` is the list the
    reply is in. Where an outer middleware has put another in its place nothing is removed, so the next call removes it
    by a plain command.
    """

    result: list[BaseMessage]

    def __init__(self, update: dict[str, Any], result: list[BaseMessage]) -> None:
        super().__init__(update=update)
        vars(self)["result"] = result  # a command is frozen

    @override
    def _update_as_tuples(self) -> Sequence[tuple[str, Any]]:
        removed: list[BaseMessage] = dict(super()._update_as_tuples())["messages"]
        if removed[0] not in self.result:
            self.result[:0] = removed
        return [(key, value) for key, value in super()._update_as_tuples() if key != "messages"]


def render(plan: CallPlan, request: Request, handed_over: HandedOver) -> RenderedCall:
    """Return the call that carries out a plan; it reads what was handed over so far."""
    facts = plan.facts
    shown = _shown(plan)
    tokens = plan.tokens
    if not plan.is_charged_as_shown:
        # The request's constant is in both, the fixed part and the count of the messages; it is charged once.
        tokens = facts.fixed - facts.counter.constant + facts.counter.whole(shown)
    sent = request
    if len(shown) != len(request.messages) or any(map(is_not, shown, request.messages)):
        if facts.continues_responses:
            # A server keeps what it was sent once, so of another window nothing may be left to it.
            shown = [_without_response_id(each) for each in shown]
        sent = request.override(messages=cast("list[AnyMessage]", shown))
    evicted = _evictable(plan, request)
    again = plan.state.notes.came_again(evicted)
    if again and not plan.state.notes.is_told:
        handed_over.tell_of_return()
    handed_over.add(again)
    return RenderedCall(plan, request, sent, shown, tokens, evicted, handed_over.has_tried(evicted))


def _shown(plan: CallPlan) -> list[BaseMessage]:
    """Return the kept messages, without stale thinking and shortened where the plan says so."""
    conversation = plan.conversation
    thinned = {index: without_thinking(conversation.messages[index]) for index in plan.thinned}
    messages = {index: thinned.get(index) or conversation.messages[index] for index in map(index_of, plan.slots)}
    return conversation.meter.show(messages, plan.slots, plan.call.clamped)


def _without_response_id(message: BaseMessage) -> BaseMessage:
    if not (isinstance(message, AIMessage) and "id" in message.response_metadata):
        return message
    metadata = {name: value for name, value in message.response_metadata.items() if name != "id"}
    return message.model_copy(update={"response_metadata": metadata})


# --- what leaves the state --------------------------------------------------------------------------------------------

_Name: TypeAlias = tuple[object, str | None, int]
_REMEMBERED = 50_000
"""Messages; about 5 MB. What was forgotten and is still in a state is handed over again."""


class HandedOver:
    """The messages that were handed over, in all threads of the running graphs; after a restart none."""

    def __init__(self) -> None:
        self._runs: dict[_Name, str | None] = {}  # each with the run from whose state it was to leave then, if known
        self._claimed: set[_Name] = set()  # what is being handed over now
        self._lock = threading.Lock()

    def among(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return those of the messages that were."""
        with self._lock:
            return [message for name, message in _named(messages).items() if name in self._runs]

    def has_tried(self, messages: Sequence[BaseMessage]) -> bool:
        """Tell whether this run was to lose one of the messages before."""
        run = run_around()
        with self._lock:
            return any(self._runs.get(name) == run for name in _named(messages))

    def add(self, messages: Sequence[BaseMessage], run: str | None = None) -> None:
        """Remember messages as handed over."""
        with self._lock:
            self._runs.update(dict.fromkeys(_named(messages), run))
            while len(self._runs) > _REMEMBERED:
                del self._runs[next(iter(self._runs))]

    @contextmanager
    def handing_over(self, messages: Sequence[BaseMessage]) -> Iterator[list[BaseMessage]]:
        """Lend those of the messages that nobody was or is being given; they are handed over, unless that raises."""
        with self._lock:
            named = _named(messages)
            new = {name: named[name] for name in named if name not in self._runs and name not in self._claimed}
            self._claimed |= new.keys()
        try:
            yield [*new.values()]
            self.add([*new.values()], run_around())
        finally:
            with self._lock:
                self._claimed -= new.keys()

    def tell_of_return(self) -> None:
        """Log once a thread that what left comes again."""
        name = (thread_of_run(), None, 0)
        with self._lock:
            is_told = name in self._runs
            self._runs[name] = None
        if not is_told:
            logger.warning(_COMES_AGAIN)


_COMES_AGAIN = (
    "evict_from_state does not reach the messages: what left the agent's state came again with the next turn, because "
    "the graph or the caller around the agent keeps it. It is not handed over again. Either return RemoveMessage for "
    "each message that the agent's result lacks, from the node that calls it; or let only the agent keep messages "
    "(checkpointer=True) and give it what is new."
)


def _named(messages: Sequence[BaseMessage]) -> dict[_Name, BaseMessage]:
    """Return messages by name. Ids are only unique where LangGraph made them, so thread and content are part of it."""
    thread = thread_of_run() if messages else None
    return {(thread, message.id, hash(str(message.content))): message for message in messages}


def _is_written_anew(request: Request, stored: Sequence[BaseMessage]) -> bool:
    """Tell whether LangChain writes all messages anew with this reply, and takes what is removed for new ones.

    It does so for calls it could not read, whose results it adds to the request and to the state. At the next call they
    are there.
    """
    answered = {each.tool_call_id for each in stored if isinstance(each, ToolMessage)}
    replies = (each for each in stored if isinstance(each, AIMessage))
    unanswered = {call["id"] for each in replies for call in each.invalid_tool_calls} - answered
    return bool(unanswered) and any(
        isinstance(m, ToolMessage) and m.tool_call_id in unanswered for m in request.messages
    )


def _evictable(plan: CallPlan, request: Request) -> list[BaseMessage]:
    """Return what is to leave the state; LangGraph may have put a part of it where it does not belong."""
    stored = request.state["messages"] if plan.facts.settings.evict_from_state else []
    if not stored or _is_written_anew(request, stored):
        return []
    notes = plan.state.notes
    evicted = _units_left(plan, plan.facts.read_messages(notes.not_left(stored))) if plan.dropped else []
    return [*notes.came_again(stored), *evicted]


def _units_left(plan: CallPlan, stored: AgentConversation) -> list[BaseMessage]:
    """Return the state's messages of units that left completely, in order, and results that have no call any more.

    A question whose turn has a later step that stays does so, too. What `oversize="drop"` left out behind the cut stays
    in the state: later replays decide by it.
    """
    left_ids, dropped_ids = _ids_left(plan), {plan.conversation.ids[index] for index in plan.dropped}
    evicted: list[BaseMessage] = []
    later_step_stays = False
    for unit in reversed(stored.units()):
        is_question = stored.kinds[unit.start] == "human"
        has_left = left_ids.issuperset(stored.ids[unit.start : unit.stop])
        if has_left and not (is_question and later_step_stays):
            evicted += reversed(stored.messages[unit.start : unit.stop])
        else:
            evicted += reversed(_strays(unit, stored, dropped_ids))
        later_step_stays = not is_question and (later_step_stays or not has_left)
    return evicted[::-1]


def _strays(unit: range, stored: AgentConversation, dropped_ids: set[str | None]) -> list[BaseMessage]:
    """Return the results in a unit that stays which have no call any more."""
    if stored.ids[unit.start] in dropped_ids and stored.kinds[unit.start] != "tool":
        return []  # `oversize="drop"` left out the unit
    strays = (i for i in unit if stored.kinds[i] == "tool" and stored.ids[i] in dropped_ids)
    return [stored.messages[i] for i in strays if stored.ids[i]]


def _ids_left(plan: CallPlan) -> set[str | None]:
    """Return the ids of the messages of units that left completely.

    A unit may be another one in the state and in the request: LangChain adds error results for unreadable calls only to
    the request, and other middlewares take messages out of it. So both are asked.
    """
    conversation, end = plan.conversation, plan.call.cut
    if end == len(conversation.messages):  # no tail: the newest turn was left out
        end = max((i for i, kind in enumerate(conversation.kinds) if kind == "human"), default=0)
    left = {index for index in plan.dropped if index < end and conversation.ids[index]}
    return {conversation.ids[i] for unit in conversation.units() if left.issuperset(unit) for i in unit}
