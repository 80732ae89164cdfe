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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

Estimate: TypeAlias = "Callable[[Sequence[BaseMessage]], int]"

_ASSUMED_GROWTH = 64
"""Counted tokens that are taken to be billed as counted: a few tokens more or less in a short message are chance, and
say little about the next one."""
# How far a bill is from a count of the same request, and how many tokens a chat format may put around a message. What
# is further off is of another request.
_LEAST, _MOST = Fraction(1, 2), Fraction(2)
_MOST_PER_MESSAGE = 16
_HIDDEN_BY_CALL = 40
"""Tokens of a reply's output that a tool call does not show: Claude's take about 37 beside name and arguments."""
_BETWEEN_WORDS = re.compile(r"[-.:@]")  # of a model's name


class Report(NamedTuple):
    """What one reply says was billed for it, in tokens, and whether it calls tools."""

    input: int
    output: int
    calls_tools: bool = False


class Anchor(NamedTuple):
    """A point where what was counted and what was billed are both known, in tokens."""

    counted: int  # what the messages of the window were counted to, the reply included
    billed: int  # what the request with them costs, the reply included
    growth_counted: int = 0  # by how much requests grew from one to the next, as counted,
    growth_billed: int = 0  # ... and as billed. 0 until there are two reports.
    previous_counted: int = 0  # what the last reply's request was counted to,
    previous_billed: int = 0  # ... and what was billed for it; 0 once messages have left since.

    def moved(self, report: Report, window: int, reply: int) -> Anchor:
        """Return the anchor a report makes, by the counts of what it answers and of the reply."""
        counted, billed = self.growth_counted, self.growth_billed
        if self.previous_billed:
            more = window - self.previous_counted
            bill = report.input - self.previous_billed
            if more > 0 and _LEAST * more <= bill <= _MOST * more:  # else it is another request
                counted, billed = counted + more, billed + bill
        grown = self._replace(growth_counted=counted, growth_billed=billed)
        # An output holds what was thought and is not in the message, so is never sent again.
        shown = _up(grown.rate * reply) + _HIDDEN_BY_CALL * report.calls_tools
        output = min(report.output or shown, shown)
        return Anchor(window + reply, report.input + output, counted, billed, window, report.input)

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
        behind = Fraction(self.billed, fixed + self.counted)
        return behind, max(Fraction(1), self.rate, behind)

    def tokens(self, window: int, unreported: int, fixed: int) -> int:
        """Return what a request is billed, by what its messages are counted to.

        No report covers `unreported` of that; `fixed` is counted beside them.
        """
        behind, ahead = self._rates(fixed)
        return _up(behind * (fixed + window - unreported) + ahead * unreported)

    def room(self, max_tokens: int, unreported: int, fixed: int) -> int:
        """Return the most that messages may be counted to: the inverse of `tokens`.

        With fewer unreported tokens than given, it is still within `max_tokens`.
        """
        behind, ahead = self._rates(fixed)
        unreported = min(unreported, int(max_tokens / ahead))  # no more can stay
        return int((max_tokens - ahead * unreported) // behind) + unreported - fixed


NO_ANCHOR = Anchor(0, 0)
"""Nothing is reported yet: what is counted is what is billed."""


def _up(tokens: Fraction) -> int:
    return -int(-tokens // 1)


def is_plausible(report: Report, counted: int) -> bool:
    """Tell whether a bill can be that of a request which is counted to so many tokens."""
    return _LEAST * counted <= report.input <= _MOST * counted


def report_by(model: str | None, message: BaseMessage) -> Report | None:
    """Return what a message reports, if it is this model's. Hot: asked of every message at every model call."""
    usage: Any = message.__dict__.get("usage_metadata")
    if not isinstance(usage, dict) or not is_by(message, model):
        return None
    billed, written = usage.get("input_tokens"), usage.get("output_tokens")
    return Report(_whole(billed), _whole(written), bool(getattr(message, "tool_calls", None)))


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
    if not borrowed_tokenizer:
        behind = messages[max(found) :]
        off = len(behind) * _around(messages, found, estimate)
        return found[max(found)].input + estimate(behind) + round(off)
    anchor = NO_ANCHOR
    ends = [*found, len(messages)]
    counted, later = estimate(messages[: ends[0]]), 0
    for at, end in pairwise(ends):
        reply, later = estimate(messages[at : at + 1]), estimate(messages[at + 1 : end])
        anchor = anchor.moved(found[at], counted, reply)
        counted += reply + later
    return anchor.billed + _up(anchor.rate * later)


def _around(messages: Sequence[BaseMessage], found: dict[int, Report], estimate: Estimate) -> Fraction:
    """Return what a message costs beside its estimate, in the mean between reports."""
    off = between = 0
    for before, after in pairwise(found):
        more = found[after].input - found[before].input - estimate(messages[before:after])
        if abs(more) <= _MOST_PER_MESSAGE * (after - before):
            off += more
            between += after - before
    return Fraction(off, max(1, between))
