"""Reported usage as an anchor: what a provider billed is the truth up to the reply that says so.

Only what came after the last report is estimated; how reports grow from one to the next shows how far the estimate is
off for this model and this conversation.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from langchain_tokenbuffer._messages.kinds import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

Estimate: TypeAlias = "Callable[[Sequence[BaseMessage]], int]"

_ASSUMED_GROWTH = 64
"""Counted tokens that are taken to be billed as counted: a few tokens more or less in a short message are chance, and
say little about the next one."""
# How far a bill is from a count of the same request, and how many tokens a chat format may put around a message. What
# is further off is of another request, until a second report agrees with it.
_LEAST, _MOST = Fraction(1, 2), Fraction(2)
_MOST_PER_MESSAGE = 16
_HIDDEN_BY_CALL = 40
"""Tokens of a reply's output that a tool call does not show: Claude's take about 37 beside name and arguments."""
_BETWEEN_WORDS = re.compile(r"[-.:@]")  # of a model's name


class Report(NamedTuple):
    """What one reply says was billed for it, in tokens, and how many tools it calls."""

    input: int
    output: int
    calls: int = 0

    def thought(self, shown: int) -> int:
        """Return what the output has beside a reply that is billed `shown`; it is billed again while its turn runs.

        So do OpenAI's Responses, Gemini 3, Grok and Qwen; where others do not, a running turn is counted high. Edge:
        without calls nothing runs, so what was thought is never sent again.
        """
        return max(0, self.output - shown) if self.calls else 0


class Anchor(NamedTuple):
    """A point where what was counted and what was billed are both known, in tokens."""

    counted: int  # what the messages of the window were counted to, the reply included
    billed: int  # what the request with them costs, the reply included, but not `added` and `thought`; 0: not known
    growth_counted: int = 0  # by how much requests grew from one to the next, as counted,
    growth_billed: int = 0  # ... and as billed. 0 until there are two reports.
    previous_counted: int = 0  # what the last reply's request was counted to,
    previous_billed: int = 0  # ... and what was billed for it; 0 once messages have left since.
    added: int = 0  # what the provider adds by itself: part of the fixed part, whatever leaves the window
    thought: int = 0  # what the last reply thought and does not show, while its turn runs
    doubted_counted: int = 0  # what the last request whose bill the count does not explain was counted to,
    doubted_billed: int = 0  # ... and what was billed for it; 0 if there is none
    believes: bool = False  # whether reports have agreed that the count does not explain them

    def moved(self, report: Report, window: int, reply: int, fixed: int, *, borrowed_tokenizer: bool) -> Anchor:
        """Return the anchor a report makes, by the counts of what it answers and of the reply."""
        counted, grown = fixed + window, self._grown(report.input, window) if borrowed_tokenizer else self
        added, rate = 0, grown.rate
        if self.believes:
            slope = self._slope(counted, report.input, fixed)
            added, rate = max(0, report.input - _up(slope * counted)), max(rate, slope)
        elif not borrowed_tokenizer:  # a text is billed as it is counted
            added = max(0, report.input - counted)
        output = shown = _up(rate * reply)
        if borrowed_tokenizer:  # an output holds what was thought and is not in the message
            shown += _HIDDEN_BY_CALL * report.calls
            # How requests have grown says what such a text costs when it is sent again, where some have.
            output = shown if grown.growth_counted else min(report.output or shown, shown)
        anchor = grown._replace(
            counted=window + reply,
            billed=report.input - added + output,
            previous_counted=window,
            previous_billed=report.input,
            added=added,
            thought=report.thought(output),
        )
        if not self.believes:
            return anchor._replace(doubted_counted=0, doubted_billed=0)
        # What is near the doubted one says little of how bills grow.
        return anchor.doubting(report, counted) if self._is_far(counted) else anchor

    def _grown(self, billed: int, window: int) -> Anchor:
        more, bill = window - self.previous_counted, billed - self.previous_billed
        if not self.previous_billed or more <= 0 or not _LEAST * more <= bill <= _MOST * more:
            return self  # it is another request
        return self._replace(growth_counted=self.growth_counted + more, growth_billed=self.growth_billed + bill)

    def _is_far(self, counted: int) -> bool:
        return abs(counted - self.doubted_counted) >= _ASSUMED_GROWTH

    def _slope(self, counted: int, billed: int, fixed: int) -> Fraction:
        """Return what a counted token is billed between the doubted report and this one; the rest is added."""
        slope = Fraction(self.billed, max(1, fixed + self.counted)) if self.billed else Fraction(1)
        if self._is_far(counted):
            slope = Fraction(billed - self.doubted_billed, counted - self.doubted_counted)
        return min(Fraction(billed, max(1, counted)), max(_LEAST, slope))

    def agrees(self, report: Report, counted: int) -> bool:
        """Tell whether a report is off as the doubted one was, by as much or by as many times, within half and twice.

        `counted`: what its request is counted to, in tokens.
        """
        before = Fraction(self.doubted_billed)
        same_side = (report.input > counted) == (self.doubted_billed > self.doubted_counted)
        by_as_much = before + counted - self.doubted_counted
        by_as_many_times = before * counted / max(1, self.doubted_counted)
        return same_side and before > 0 and any(is_plausible(report, each) for each in (by_as_much, by_as_many_times))

    def doubting(self, report: Report, counted: int) -> Anchor:
        """Return the anchor after a report that is not believed: the next one may agree with it."""
        return self._replace(doubted_counted=counted, doubted_billed=report.input) if report.input else self

    def without_previous(self) -> Anchor:
        """Return the anchor after messages left: requests no longer grow from the last one."""
        return self._replace(previous_counted=0, previous_billed=0)

    @property
    def rate(self) -> Fraction:
        """What is billed for one counted token, as far as reports have grown."""
        rate = Fraction(_ASSUMED_GROWTH + self.growth_billed, _ASSUMED_GROWTH + self.growth_counted)
        return min(_MOST, max(_LEAST, rate))

    def _rates(self, fixed: int) -> tuple[Fraction, Fraction]:
        """Return what one counted token is billed behind the anchor, and ahead of it.

        Behind it what was billed together is taken to cost in proportion, the fixed part included. Ahead it is never
        less than the estimate, nor than behind: the next message may be of another kind, JSON after prose.
        """
        behind = Fraction(self.billed, max(1, fixed + self.counted))
        return behind, max(Fraction(1), self.rate, behind)

    def tokens(self, window: int, unreported: int, fixed: int) -> int:
        """Return what a request is billed, by what its messages are counted to.

        No report covers `unreported` of that; `fixed` is counted beside them.
        """
        behind, ahead = self._rates(fixed)
        return self.added + self.thought + _up(behind * (fixed + window - unreported) + ahead * unreported)

    def room(self, max_tokens: int, unreported: int, fixed: int) -> int:
        """Return the most that messages may be counted to: the inverse of `tokens`.

        With fewer unreported tokens than given, it is still within `max_tokens`.
        """
        behind, ahead = self._rates(fixed)
        max_tokens -= self.added + self.thought
        unreported = max(0, min(unreported, int(max_tokens / ahead)))  # no more can stay
        return int((max_tokens - ahead * unreported) // behind) + unreported - fixed


NO_ANCHOR = Anchor(0, 0)
"""Nothing is reported yet: what is counted is what is billed."""


def _up(tokens: Fraction) -> int:
    return -int(-tokens // 1)


def is_plausible(report: Report, counted: int | Fraction) -> bool:
    """Tell whether a bill can be that of a request which is counted to so many tokens."""
    return _LEAST * counted <= report.input <= _MOST * counted


def report_by(model: str | None, message: BaseMessage) -> Report | None:
    """Return what a message reports, if it is this model's. Hot: asked of every message at every model call."""
    usage: Any = message.__dict__.get("usage_metadata")
    if not isinstance(usage, dict) or not is_by(message, model):
        return None
    billed, written = usage.get("input_tokens"), usage.get("output_tokens")
    return Report(_whole(billed), _whole(written), len(getattr(message, "tool_calls", None) or ()))


def _whole(tokens: object) -> int:
    """Return a number of tokens that is one, else 0: integrations may set usage unchecked."""
    whole = isinstance(tokens, int) or (isinstance(tokens, float) and tokens.is_integer())
    return max(0, int(cast("float", tokens))) if whole else 0


def is_by(message: BaseMessage, model: str | None) -> bool:
    """Tell whether a reply is this model's, as far as it says; a dated name is the same model.

    So is what an alias stands for: claude-3-7-sonnet-latest answers as claude-3-7-sonnet-20250219, claude-sonnet-4-0 as
    claude-sonnet-4-20250514. Another model's report says nothing about this one.
    """
    metadata = message.response_metadata or {}
    said = metadata.get("model_name") or metadata.get("model")
    if not isinstance(said, str) or not said or not model:
        return True
    return _are_same(said, model)


@lru_cache(maxsize=256)
def _are_same(one: str, other: str) -> bool:
    words, others = _words(one), _words(other)
    return words <= others or others <= words


def _words(name: str) -> frozenset[str]:
    """Return what a model's name is made of, without who serves it and which version is newest."""
    return frozenset(_BETWEEN_WORDS.split(name.lower().rpartition("/")[2])) - {"latest", "0"}


def reports(messages: Sequence[BaseMessage], model: str | None) -> dict[int, Report]:
    """Return the model's reports by index, in order."""
    return {
        index: report
        for index, message in enumerate(messages)
        if (report := report_by(model, message)) is not None and report.input > 0
    }


def anchored(
    messages: Sequence[BaseMessage], found: dict[int, Report], estimate: Estimate, *, borrowed_tokenizer: bool
) -> int:
    """Return what a request costs: the last report, and an estimate of what came after it.

    With the model's own tokenizer all that a count can be off by is what the format puts around each message, which
    reports show: from the second one on the count is exact where that is the same for every message.
    """
    last = max(found)
    runs = last + 1 < len(messages) and not any(map(ends_turn, messages[last + 1 :]))
    if not borrowed_tokenizer:
        behind = messages[last:]
        off = len(behind) * _around(messages, found, estimate)
        thought = found[last].thought(estimate(behind[:1])) if runs else 0
        return found[last].input + thought + estimate(behind) + round(off)
    anchor = NO_ANCHOR
    ends = [*found, len(messages)]
    counted, later = estimate(messages[: ends[0]]), 0
    for at, end in pairwise(ends):
        reply, later = estimate(messages[at : at + 1]), estimate(messages[at + 1 : end])
        anchor = anchor.moved(found[at], counted, reply, 0, borrowed_tokenizer=True)
        counted += reply + later
    return anchor.billed + anchor.thought * runs + _up(anchor.rate * later)


def ends_turn(message: BaseMessage) -> bool:
    """Tell whether the turn before a message is over with it: it is human, and no result."""
    facts = facts_of(message)
    return facts.kind == "human" and not facts.results


def _around(messages: Sequence[BaseMessage], found: dict[int, Report], estimate: Estimate) -> Fraction:
    """Return what a message costs beside its estimate, in the mean between reports."""
    off = between = 0
    for before, after in pairwise(found):
        more = found[after].input - found[before].input - estimate(messages[before:after])
        if abs(more) <= _MOST_PER_MESSAGE * (after - before):
            off += more
            between += after - before
    return Fraction(off, max(1, between))
