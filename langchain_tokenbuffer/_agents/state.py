"""What earlier calls of a thread taught, and what later calls, and other processes, are to know.

The agent's private state holds it in plain JSON types, by message id. What it says of a message holds only while all up
to that message is as it was.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._agents.facts import AddedBehind
from langchain_tokenbuffer._agents.keyed import Keyed
from langchain_tokenbuffer._agents.notes import is_state_kept, thread_of_run
from langchain_tokenbuffer._agents.thinking import NO_RECORD, ShownRecord
from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, Anchor
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.replay import RULE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import RequestFacts
    from langchain_tokenbuffer._agents.notes import ReplyNotes
    from langchain_tokenbuffer._window.budget import Budget
    from langchain_tokenbuffer._window.driver import CallWindow
    from langchain_tokenbuffer.errors import TokenBudgetError


logger = logging.getLogger(__name__)

_STEPS = 8
"""In so many steps, each by the same factor, a guess grows back."""
_CALLS_PER_STEP = 3
"""So many calls must succeed before the next step; after each refusal that follows, twice as many. A first guess is
gone after 24 calls; where the true limit is a fourth of the budget, 240 calls meet 8 refusals at most."""
_FALSE = 1.25
"""A request that is larger by this factor than the refused one, and succeeds, shows that the refusal was no limit. By
less, the two may only be counted differently."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one model in a thread.

    A limit that a provider did not name is a guess, and grows back while calls succeed. Each message is replayed under
    the limit of its time, so `steps` keeps the old ones, too.
    """

    steps: tuple[tuple[str | None, int | None], ...] = ()  # (id of the last message before it, or None; `max_tokens`,
    # or None for the settings' own), in order
    named: int | None = None  # the last limit that the provider named
    refused: int | None = None  # tokens of the request whose refusal named none; None: no guess is in force
    refusals: int = 0  # how many calls were refused so
    grown: int = 0  # how many steps the guess has grown
    calls: int = 0  # how many calls succeeded since

    @classmethod
    def load(cls, raw: Any) -> Limits:
        """Return the limits that `dump` was taken of; or of release 0.1.0, which only knew the last one."""
        if raw is None:
            return cls()
        if isinstance(raw, int):
            return cls(((None, raw),), named=raw)
        return cls(**{**raw, "steps": tuple((after, limit) for after, limit in raw["steps"])})

    def dump(self) -> dict[str, Any]:
        """Return it in plain JSON types, without what is as it was in the beginning."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["steps"] = [list(step) for step in self.steps]
        return {name: value for name, value in values.items() if value}

    def under(self, max_tokens: int) -> int:
        """Return the limit now in force."""
        limit = self.steps[-1][1] if self.steps else None
        return max_tokens if limit is None else min(limit, max_tokens)

    def starts(self, conversation: AgentConversation) -> tuple[tuple[int, int | None], ...]:
        """Return each step with the index of its first message. A message that is missing lies before all others."""
        if not self.steps:
            return ()
        places = {each: index for index, each in enumerate(conversation.ids) if each is not None}
        starts, start = [], 0
        for after, limit in self.steps:
            start = max(start, places.get(after, -1) + 1) if after is not None else start
            starts.append((start, limit))
        return tuple(starts)

    # --- what comes of a call ---

    def after_refusal(self, after: str | None, limit: int, *, tokens: int, is_named: bool, is_first: bool) -> Limits:
        """Return the limits after a request of so many tokens was refused, from the message behind `after` on.

        `is_first`: whether this is the call's first refusal.
        """
        learned = self.raised(after, limit)
        if is_named:
            return replace(learned, named=limit, refused=None)
        return replace(learned, refused=tokens, refusals=max(1, self.refusals + is_first), grown=0, calls=0)

    def after_success(self, last_id: str | None, max_tokens: int, tokens: int) -> Limits:
        """Return the limits after a request of so many tokens succeeded, whose last message is `last_id`."""
        if self.refused is None or last_id is None:
            return self
        if tokens >= _FALSE * self.refused:
            return replace(self.raised(last_id, self.named), refused=None, refusals=0)
        if self.calls + 1 < _CALLS_PER_STEP << min(self.refusals - 1, 16):
            return replace(self, calls=self.calls + 1)
        goal, limit = min(max_tokens, self.named or max_tokens), self.under(max_tokens)
        left = _STEPS - self.grown
        if left <= 1 or limit >= goal:
            return replace(self.raised(last_id, self.named), refused=None)
        larger = int(limit * (goal / limit) ** (1 / left))
        return replace(self.raised(last_id, larger), grown=self.grown + 1, calls=0)

    def raised(self, after: str | None, limit: int | None) -> Limits:
        """Return the limits with another one from the message behind `after` on."""
        before = self.steps[:-1] if self.steps and self.steps[-1][0] == after else self.steps
        return replace(self, steps=(*before, (after, limit)))

    def without(self, left: Collection[str | None]) -> Limits:
        """Return the limits of the messages that stay when some leave."""
        steps: list[tuple[str | None, int | None]] = []
        for after, limit in self.steps:
            kept = after if after not in left else steps[-1][0] if steps else None
            if steps and steps[-1][0] == kept:
                steps.pop()
            steps.append((kept, limit))
        return replace(self, steps=tuple(steps))


def log_limit(model: str, refused: int, limits: Limits, max_tokens: int) -> None:
    """Log which limit holds after a request of so many tokens was refused; a guess is a warning."""
    now = limits.under(max_tokens)
    if limits.refused is None:
        text = (
            "%s refused a request of %d tokens; by the limit it named, requests have at most %d of max_tokens %d now."
        )
        logger.info(text, model, refused, now, max_tokens)
        return
    text = (
        "%s refused a request of %d tokens and named no limit: requests have at most %d of max_tokens %d now. This is "
        "a guess and grows back while calls succeed; if refusals keep coming, set max_tokens to what it takes."
    )
    logger.warning(text, model, refused, now, max_tokens)


@lru_cache(maxsize=1024)  # a thread whose state is not handed on is warned of once a process
def _log_belief(keyed: Keyed[tuple[str, int, int]]) -> None:
    """Log that reports are believed which the count does not explain: a request's model, count and bill."""
    text = (
        "%s was counted to %d tokens and billed %d, and the report before agrees: requests are taken to cost what is "
        "billed. If it adds something by itself (cached content, server tools), leave room for it with reserve_tokens; "
        "if its texts are billed otherwise, pass the token_counter that counts them."
    )
    logger.warning(text, *keyed.value)


_TOO_MUCH = (
    "A request of %d tokens was sent, and max_tokens is %d: middlewares behind TokenBufferMiddleware added %d tokens. "
    "From this thread's next call on they are in the budget. For its first call, too, put TokenBufferMiddleware last "
    "or set reserve_tokens=%d."
)


class Overflowed(NamedTuple):
    """What refusals of one call taught so far."""

    limits: Limits
    refusals: int  # how often this call was refused
    tokens: int  # what the last of these requests cost; the next one costs less


class ThreadState:
    """What the private state knows of a thread, for one request."""

    def __init__(
        self,
        raw: dict[str, Any],
        notes: ReplyNotes,
        facts: RequestFacts,
        limits: Limits,
        *,
        unsaved: UnsavedLimits,
        overflowed: Overflowed | None = None,
    ) -> None:
        self.raw = raw  # the private state as it is
        self.notes = notes  # what replies say that it does not
        self.limits = limits  # of the request's model
        self.overflowed = overflowed  # what refusals of this very request taught
        self._facts = facts
        self._unsaved = unsaved
        # What the last call showed. Release 0.1.0 kept ids of what it left out, and not behind what: all is stale.
        self.shown = ShownRecord(0, 0, "") if "thinned" in raw else NO_RECORD
        if shown := raw.get("shown", notes.shown):
            self.shown = ShownRecord(*shown)

    @classmethod
    def load(
        cls,
        state: Mapping[str, Any],
        notes: ReplyNotes,
        facts: RequestFacts,
        conversation: AgentConversation,
        unsaved: UnsavedLimits,
        *,
        overflowed: Overflowed | None = None,
    ) -> ThreadState:
        """Read the agent's state, and what no state holds of this conversation."""
        raw = state.get("token_buffer") or {}
        if overflowed is not None:
            limits = overflowed.limits
        else:
            known = notes.limits.get(facts.model) or raw.get("limits", {}).get(facts.model)
            limits = unsaved.find(facts.model, conversation.ids_from_newest()) or Limits.load(known)
            if limits == Limits() and not is_state_kept():  # in a tool each conversation is a new one
                limits = unsaved.find(facts.model, [thread_of_run()]) or limits
        return cls(raw, notes, facts, limits, unsaved=unsaved, overflowed=overflowed)

    def after_refusal(self, conversation: AgentConversation, limit: int, *, tokens: int, is_named: bool) -> Overflowed:
        """Return what the refusal of a request of so many tokens taught; it is logged, and kept until it is saved."""
        earlier, facts = self.overflowed, self._facts
        limits = self.limits.after_refusal(
            conversation.id_before_newest, limit, tokens=tokens, is_named=is_named, is_first=earlier is None
        )
        self._keep(conversation.ids_from_newest(), limits)
        log_limit(facts.model, tokens, limits, facts.max_tokens)
        return Overflowed(limits, 1 if earlier is None else earlier.refusals + 1, tokens)

    def _keep(self, ids: Iterable[str | None], limits: Limits) -> None:
        """Keep what no state holds, or none that the next turn begins with."""
        self._unsaved.keep(self._facts.model, ids, limits)
        if not is_state_kept():
            self._unsaved.keep(self._facts.model, [thread_of_run()], limits)

    def making_room(self, shortage: TokenBudgetError, conversation: AgentConversation) -> ThreadState:
        """Return the state under a limit that what must stay fits; raise the shortage if there is none.

        What is only a guess, or tried, refuses nothing by itself.
        """
        is_guess = self.overflowed is not None or self.limits.refused is not None
        most = self._facts.max_tokens if self.overflowed is None else self.overflowed.tokens - 1
        if not (is_guess and self.max_tokens < shortage.tokens <= most):
            raise shortage
        limits = self.limits.raised(conversation.id_before_newest, shortage.tokens)
        return ThreadState(self.raw, self.notes, self._facts, limits, unsaved=self._unsaved, overflowed=self.overflowed)

    def under(self, facts: RequestFacts) -> ThreadState:
        """Return the same under other facts."""
        return ThreadState(self.raw, self.notes, facts, self.limits, unsaved=self._unsaved, overflowed=self.overflowed)

    @property
    def max_tokens(self) -> int:
        """The budget in force."""
        return self.limits.under(self._facts.max_tokens)

    @property
    def _budget(self) -> Budget:
        """The budget while nothing was refused."""
        return self._facts.budget(self._facts.max_tokens)

    @property
    def basis(self) -> list[Any]:
        """The settings under which anchors and clamped tokens hold, in JSON types."""
        budget = self._budget
        settings = [budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize, budget.clear_results]
        return [RULE, *settings, self._facts.counter.what]

    def apply_to(self, conversation: AgentConversation) -> None:
        """Apply what earlier calls say of the messages."""
        reported_from, _, _ = self._earlier_reports(conversation)
        conversation.apply_earlier_calls(reported_from, self._clamped_tokens(conversation))

    def billing(self, conversation: AgentConversation) -> Billing:
        """Return how counts become bills, by the reports before those."""
        _, anchor, first_unreported = self._earlier_reports(conversation)
        return Billing(
            self._budget,
            limits=self.limits.starts(conversation),
            reserved=self._facts.reserved,
            borrowed_tokenizer=self._facts.counter.borrowed_tokenizer,
            is_estimate=not self._facts.counter.exact,
            anchor=anchor,
            first_unreported=first_unreported,
        )

    def _earlier_reports(self, conversation: AgentConversation) -> tuple[int, Anchor, int]:
        """Return the first index whose report counts, the anchor before it, and the first index that does not cover.

        Where nothing is known, all replies are taken to answer requests with these settings.
        """
        anchored = self.raw.get("anchored")
        if not self._facts.uses_reports or (anchored and self.raw["basis"] != self.basis):
            return len(conversation.messages), NO_ANCHOR, 0
        last_id, anchor, first_unreported_id = anchored or (None, None, None)
        if last_id is None:  # since the beginning
            return 0, NO_ANCHOR, 0
        places = {each: index for index, each in enumerate(conversation.ids)}
        first = places.get(last_id, -1) + 1
        if anchor is None:
            return first, NO_ANCHOR, 0
        return first, Anchor(*anchor), places.get(first_unreported_id, first)

    def _clamped_tokens(self, conversation: AgentConversation) -> dict[int, int]:
        """Return the tokens of clamped messages by index, where all up to the message is as it was."""
        stored = self.raw.get("sizes")
        if not stored or self.raw["basis"] != self.basis:
            return {}
        marks = conversation.fingerprints(stored)
        return {
            index: stored[each][0]
            for index, each in enumerate(conversation.ids)
            if each in marks and stored[each][1] == marks[each]
        }

    # --- saving ---

    def save(
        self,
        conversation: AgentConversation,
        call: CallWindow,
        shown: ShownRecord,
        evicted: Sequence[BaseMessage],
        limits: Mapping[str, Limits],
        *,
        added: AddedBehind,
    ) -> dict[str, Any] | None:
        """Return the private state after a call; `None` if it stays as it is.

        `shown` is what it showed, `evicted` the messages that later calls do not see, `limits` and `added` those after
        the call.
        """
        model = self._facts.model
        self._unsaved.forget(model, conversation.ids_from_newest())
        if model in limits:
            self._keep([], limits[model])
        evicts = self._facts.settings.evict_from_state
        left = {message.id for message in evicted}
        saved: dict[str, Any] = {"limits": {name: each.without(left).dump() for name, each in limits.items()}}
        saved["added"] = added.dump()
        saved |= self._saved_anchor(conversation.messages, call, left)
        saved["believes"] = self._saved_belief(conversation, call)
        if evicts:  # later replays cannot find this out without the deleted messages
            saved |= self._saved_clamped(conversation, call, left)
        saved["shown"] = self.raw.get("shown") if shown is NO_RECORD else list(shown)
        saved = {name: value for name, value in saved.items() if value}
        return None if saved == self.raw else saved

    def added_after(self, tokens: int, added: int) -> AddedBehind:
        """Return what is added behind, after so much was added to a call that was counted to so many tokens.

        That a request was over budget by it is said once.
        """
        facts, earlier = self._facts, self._facts.added_behind
        sent = tokens - facts.reserved - facts.fixed_tokens.added_behind + added
        is_too_much = added > 0 and sent > self.max_tokens
        if is_too_much and not earlier.is_told:
            logger.warning(_TOO_MUCH, sent, self.max_tokens, added, max(added, facts.settings.reserve_tokens))
        return AddedBehind(max(added, earlier.tokens), is_too_much or earlier.is_told)

    def limits_after(self, conversation: AgentConversation, tokens: int) -> dict[str, Limits]:
        """Return the limits of all models, of which this one's request succeeded; it cost so many tokens."""
        facts = self._facts
        last_id = next(conversation.ids_from_newest(), None)
        raw = {**self.raw.get("limits", {}), **self.notes.limits}
        limits = {model: Limits.load(each) for model, each in raw.items()}
        limits[facts.model] = self.limits.after_success(last_id, facts.max_tokens, tokens)
        return {model: each for model, each in limits.items() if each != Limits()}

    def _saved_anchor(self, messages: Sequence[BaseMessage], call: CallWindow, left: set[str | None]) -> dict[str, Any]:
        """Return under which settings replies reported their usage, and from which one on."""
        anchored = self.raw.get("anchored")
        # Also kept while a model without reports runs; else old reports would count again after it.
        if anchored is None and not self._facts.uses_reports:
            return {}
        basis = self.basis
        evicts = self._facts.settings.evict_from_state
        if anchored is None and not evicts:
            # All replies so far are taken to answer requests with these settings.
            return {"basis": basis, "anchored": [None, None, None]}
        if evicts or self.raw["basis"] != basis:
            anchored = _anchor_after(messages, call, left)
        return {"basis": basis, "anchored": anchored}

    def _saved_belief(self, conversation: AgentConversation, call: CallWindow) -> bool:
        """Tell whether reports that the count does not explain are believed in this thread; warn of the first."""
        known, anchor = self.raw.get("believes", False), call.anchor
        if anchor.believes and not known:
            thread = self._facts.model, *(message.id for message in conversation.messages[:1])
            _log_belief(Keyed(thread, (self._facts.model, anchor.doubted_counted, anchor.doubted_billed)))
        return known or anchor.believes

    def _saved_clamped(
        self, conversation: AgentConversation, call: CallWindow, left: set[str | None]
    ) -> dict[str, Any]:
        """Return the clamped tokens that a replay can no longer find out without the deleted messages."""
        ids = conversation.ids
        clamped = {name: tokens for index, tokens in call.clamped.items() if (name := ids[index])}
        if not clamped:
            return {}
        marks = conversation.fingerprints(clamped, without=left)
        marked = {name: [tokens, marks[name]] for name, tokens in clamped.items()}
        return {"basis": self.basis, "sizes": marked}


def _anchor_after(messages: Sequence[BaseMessage], call: CallWindow, left: set[str | None]) -> list[Any]:
    """Return the id of the last message, the anchor a call came to, and the id of the first that does not cover."""
    last_id = messages[-1].id if messages else None
    if last_id is None or call.anchor == NO_ANCHOR:
        return [last_id, None, None]
    later = (each.id for each in messages[call.first_unreported :])
    return [last_id, list(call.anchor), next((each for each in later if each not in left), None)]


# --- what no state holds ---

_MAX_UNSAVED = 1000


class UnsavedLimits:
    """What refusals taught in calls that failed in the end, so that no state holds it; by the id of a message.

    Only this process knows. Pickles and copies empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: OrderedDict[tuple[str, str], Limits] = OrderedDict()

    def __reduce__(self) -> tuple[type[UnsavedLimits], tuple[()]]:
        return UnsavedLimits, ()

    def keep(self, model: str, ids: Iterable[str | None], limits: Limits) -> None:
        """Keep what was learned from a request with these messages, the newest first."""
        newest = next((each for each in ids if each is not None), None)
        if newest is None:
            return
        with self._lock:
            self._limits[model, newest] = limits
            self._limits.move_to_end((model, newest))
            while len(self._limits) > _MAX_UNSAVED:
                self._limits.popitem(last=False)

    def find(self, model: str, ids: Iterable[str | None]) -> Limits | None:
        """Return what was learned last from a request whose messages are among these, the newest first."""
        if not self._limits:
            return None
        keys = ((model, each) for each in ids if each is not None)
        return next((limits for key in keys if (limits := self._limits.get(key)) is not None), None)

    def forget(self, model: str, ids: Iterable[str | None]) -> None:
        """Forget it: a state holds it now."""
        if self._limits:
            with self._lock:
                for each in ids:
                    self._limits.pop((model, each or ""), None)
