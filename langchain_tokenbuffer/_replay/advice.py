"""A sweep over `max_tokens` and `trim_to`, and the setting to take.

What a setting is worth is two numbers: the share of the conversation the model sees, and what the input costs against
never trimming. The frontier are the settings that no other beats in both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product, starmap
from typing import TYPE_CHECKING

from langchain_tokenbuffer._replay.simulation import Setting, trimmed, untrimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Totals

TRIM_TOS = (0.4, 0.5, 0.6, 0.8, 1.0)
BUDGETS = 9  # how many are tried, between what the fixed part allows and the whole conversation
_WIDEST = 16  # the smallest budget is the whole conversation divided by this
USABLE = 0.95  # of a model's context, what a budget may take; the rest is for what nobody can count
COMFORTABLE = 0.8  # of a model's context, what a conversation may take that is still growing
SPEND = 0.5  # of the cost of never trimming, what the setting to take may cost
WORTH = 1 / 4  # of the conversation, what the model has to see for a setting to be worth it
_OUTGROWN = "The longest request would take {:,} tokens, and the model takes {:,}. "
_TOO_SMALL = (
    "No budget will do: the longest request takes {:,} tokens, the model {:,}, "
    "and what must stay does not fit below that."
)


@dataclass(frozen=True)
class SweepResult:
    """A setting, what it comes to, and its cost as a share of never trimming's."""

    setting: Setting
    totals: Totals
    cost_share: float
    on_frontier: bool = False


@dataclass(frozen=True)
class Advice:
    """What to do, and what it rests on."""

    setting: Setting | None  # what to take; `None`: do not trim
    sentence: str  # the same in words, with its numbers
    results: tuple[SweepResult, ...]  # every setting tried, in order
    never: Totals  # what never trimming comes to


def advise(
    transcripts: Sequence[CountedTranscript],
    prices: Prices,
    *,
    context: int | None = None,
    trim_tos: Sequence[float] = TRIM_TOS,
    spend: float = SPEND,
    track: Callable[[Sequence[Setting], str], Iterable[Setting]] = lambda settings, _: settings,
) -> Advice:
    """Try settings on conversations and say which to take: one that costs at most `spend` of never trimming, if any."""
    never, results = untrimmed(transcripts, prices), []
    settings = [*starmap(Setting, product(_budgets(transcripts, prices, context), trim_tos))]
    for setting in track(settings, "Trying budgets"):
        totals = trimmed(transcripts, setting, prices)
        results.append(SweepResult(setting, totals, totals.cost_share(never)))
    filled = never.peak / context if context else 0.0
    frontier = [each for each in _frontier(results) if each.cost_share < 1 or filled > USABLE]
    best = _best(frontier, spend, must=filled > COMFORTABLE)
    if best is not None:
        before = _OUTGROWN if filled > USABLE else ""
        sentence = before.format(never.peak, context) + _to_take(best, frontier, spend)
    elif filled > USABLE:
        sentence = _TOO_SMALL.format(never.peak, context)
    else:
        sentence = _not_to_trim(never, context, _why_not(results, frontier, spend))
    tried = tuple(replace(each, on_frontier=each in frontier) for each in results)
    return Advice(best.setting if best else None, sentence, tried, never)


def _budgets(transcripts: Iterable[CountedTranscript], prices: Prices, context: int | None) -> list[int]:
    """Return round budgets, evenly spaced as ratios; none that no cache serves, unless the model takes no others."""
    longest = max(each.longest for each in transcripts)
    beside = max(each.fixed + each.head_tokens for each in transcripts)
    top = longest if context is None else min(longest, USABLE * context)
    least = max(prices.floor, 1) if prices.floor < top or top == longest else 1
    low = max(longest / _WIDEST, 1.5 * beside, least)
    steps = (low * (top / low) ** (n / BUDGETS) for n in range(BUDGETS))
    return sorted({max(_rounded(step), least) for step in steps}) if low < top else []


def _rounded(value: float) -> int:
    """Round to two digits, down."""
    unit: int = 10 ** max(0, len(str(int(value))) - 2)
    return int(value) // unit * unit


def _frontier(results: Iterable[SweepResult]) -> list[SweepResult]:
    """Return the settings that no other beats, cheapest first.

    One that could not keep the budget is no choice, one that shortens messages only where none does without.
    """
    sent = [result for result in results if not result.totals.over]
    least = min((result.totals.clamped for result in sent), default=0)
    frontier: list[SweepResult] = []
    for result in sorted(sent, key=lambda result: (result.cost_share, -result.totals.share)):
        dearer = frontier and result.totals.share <= frontier[-1].totals.share
        if result.totals.clamped == least and not dearer:
            frontier.append(result)
    return frontier


def _best(frontier: Sequence[SweepResult], spend: float, *, must: bool) -> SweepResult | None:
    """Return what sees the most for the money; `None` if nothing is worth it.

    Where the conversation outgrows the model something has to be taken.
    """
    paid = [result for result in frontier if result.cost_share <= spend]
    if paid and (must or paid[-1].totals.share >= WORTH):
        return paid[-1]
    if not (must and frontier):
        return None
    return next((result for result in reversed(frontier) if result.cost_share <= 1), frontier[0])


def percent(share: float) -> str:
    """Spell a share."""
    return f"{100 * share:.0f} %"


def _to_take(best: SweepResult, frontier: Sequence[SweepResult], spend: float) -> str:
    most = f", the most of all settings that cost at most {percent(spend)}" if best.cost_share <= spend else ""
    dearer = "".join(
        f". The next dearer, {more.setting.max_tokens} and {more.setting.trim_to:g}, shows "
        f"{percent(more.totals.share)} for {percent(more.cost_share)}"
        for more in frontier[frontier.index(best) + 1 :][:1]
    )
    return (
        f"Take max_tokens={best.setting.max_tokens}, trim_to={best.setting.trim_to:g}: the model sees "
        f"{percent(best.totals.share)} of the conversation for {percent(best.cost_share)} of what never trimming costs"
        f"{most}{dearer}."
    )


def _not_to_trim(never: Totals, context: int | None, why: str) -> str:
    room = f" of the model's {context:,}" if context else ""
    return f"Do not trim: the longest request takes {never.peak:,}{room} tokens{why}."


def _why_not(results: Sequence[SweepResult], frontier: Sequence[SweepResult], spend: float) -> str:
    """Say why no setting is worth it."""
    if not results:
        return ""
    if shares := [result.totals.share for result in frontier if result.cost_share <= spend]:
        most = f"{percent(max(shares))} of the conversation"
        return f", and for {percent(spend)} of the cost the model would see only {most}"
    if frontier:
        cheapest = frontier[0]
        whole = "" if cheapest.totals.clamped else " that keeps messages whole"
        return (
            f", and the cheapest setting{whole}, max_tokens={cheapest.setting.max_tokens}, "
            f"still costs {percent(cheapest.cost_share)} and shows {percent(cheapest.totals.share)}"
        )
    if any(result.cost_share < 1 and not result.totals.over for result in results):
        return ", and every setting that costs less shortens messages"
    return ", and never trimming is cheapest"
