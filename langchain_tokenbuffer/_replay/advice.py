"""A sweep over `max_tokens` and `trim_to`, and the setting to take.

What a setting is worth is two numbers: the share of the conversation the model sees, and what the
input costs against never trimming. The frontier are the settings that no other beats in both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product, starmap
from typing import TYPE_CHECKING

from langchain_tokenbuffer._replay.measuring import Setting, calls_of, totals_of, untrimmed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_tokenbuffer._replay.measuring import Measured, Prices, Totals

TRIM_TOS = (0.4, 0.5, 0.6, 0.8, 1.0)
BUDGETS = 9
"""How many budgets are tried, between what the fixed part allows and the whole conversation."""
_WIDEST = 16
"""The smallest budget is the whole conversation divided by this."""
USABLE = 0.95
"""Of a model's context, what a budget may take; the rest is for what nobody can count."""
COMFORTABLE = 0.8
"""Of a model's context, what a conversation may take that is still growing."""
SPEND = 0.5
"""Of the cost of never trimming, what the setting to take may cost."""
WORTH = 1 / 4
"""Of the conversation, what the model has to see for a setting to be worth it."""


@dataclass(frozen=True)
class Point:
    """A setting, what it comes to, and its cost as a share of never trimming's."""

    setting: Setting
    totals: Totals
    cost: float
    on_frontier: bool = False


@dataclass(frozen=True)
class Advice:
    """What to do, and what it rests on.

    Attributes:
        setting: What to take; `None`: do not trim.
        sentence: The same in words, with its numbers.
        points: Every setting tried, in order.
        never: What never trimming comes to.
    """

    setting: Setting | None
    sentence: str
    points: tuple[Point, ...]
    never: Totals


def advise(
    measured: Sequence[Measured],
    prices: Prices,
    *,
    context: int | None = None,
    trim_tos: Sequence[float] = TRIM_TOS,
    spend: float = SPEND,
) -> Advice:
    """Try settings on conversations and say which to take.

    Args:
        measured: The conversations.
        prices: What tokens cost.
        context: What the model takes, in tokens.
        trim_tos: The low-water marks to try.
        spend: What the setting to take may cost, as a share of what never trimming costs.
    """
    never = untrimmed(measured, prices)
    points = []
    for setting in starmap(Setting, product(_budgets(measured, prices, context), trim_tos)):
        played = ((each, calls_of(each, setting, prices)) for each in measured)
        totals = totals_of(played, prices)
        points.append(Point(setting, totals, totals.cost / (never.cost or 1)))
    frontier = _frontier(points)
    usable = context is None or never.peak <= USABLE * context
    comfortable = context is None or never.peak <= COMFORTABLE * context
    frontier = [each for each in frontier if each.cost < 1 or not usable]
    tried = tuple(replace(each, on_frontier=each in frontier) for each in points)
    best = _best(frontier, spend, must=not comfortable)
    if best is not None:
        said = _to_take(best, frontier, spend)
        said = said if usable else _OUTGROWN.format(never.peak, context) + said
        return Advice(best.setting, said, tried, never)
    said = _not_to_trim(never, tried, spend, context)
    said = said if usable else _TOO_SMALL.format(never.peak, context)
    return Advice(None, said, tried, never)


def _budgets(measured: Iterable[Measured], prices: Prices, context: int | None) -> list[int]:
    """Return round budgets, evenly spaced as ratios.

    None that no cache would serve, unless the model takes no others.
    """
    sizes = [(each.longest, each.fixed + each.head) for each in measured]
    longest, beside = (max(size) for size in zip(*sizes, strict=True))
    top = longest if context is None else min(longest, USABLE * context)
    least = max(prices.floor, 1) if prices.floor < top or top == longest else 1
    low = max(longest / _WIDEST, 1.5 * beside, least)
    steps = (low * (top / low) ** (n / BUDGETS) for n in range(BUDGETS))
    return sorted({max(_round(step), least) for step in steps}) if low < top else []


def _round(value: float) -> int:
    """Round to two digits, down."""
    unit: int = 10 ** max(0, len(str(int(value))) - 2)
    return int(value) // unit * unit


def _frontier(points: Iterable[Point]) -> list[Point]:
    """Return the settings that no other beats, cheapest first.

    One that could not keep the budget is no choice, one that shortens messages only where none
    does without.
    """
    sent = [point for point in points if not point.totals.over]
    least = min((point.totals.clamped for point in sent), default=0)
    frontier: list[Point] = []
    for point in sorted(sent, key=lambda point: (point.cost, -point.totals.share)):
        dearer = frontier and point.totals.share <= frontier[-1].totals.share
        if point.totals.clamped == least and not dearer:
            frontier.append(point)
    return frontier


def _best(frontier: Sequence[Point], spend: float, *, must: bool) -> Point | None:
    """Return what sees the most for the money; `None` if nothing is worth it.

    Where the conversation outgrows the model something has to be taken.
    """
    paid = [point for point in frontier if point.cost <= spend]
    if paid and (must or paid[-1].totals.share >= WORTH):
        return paid[-1]
    if not (must and frontier):
        return None
    return next((point for point in reversed(frontier) if point.cost <= 1), frontier[0])


# --- in words -------------------------------------------------------------------------------------


def percent(share: float) -> str:
    """Spell a share."""
    return f"{100 * share:.0f} %"


def _to_take(best: Point, frontier: Sequence[Point], spend: float) -> str:
    totals, place = best.totals, frontier.index(best)
    said = (
        f"Take max_tokens={best.setting.max_tokens}, trim_to={best.setting.trim_to:g}: "
        f"the model sees {percent(totals.share)} of the conversation for {percent(best.cost)} of "
        "what never trimming costs"
    )
    if best.cost <= spend:
        said += f", the most of all settings that cost at most {percent(spend)}"
    if place + 1 < len(frontier):
        more = frontier[place + 1]
        said += (
            f". The next dearer, {more.setting.max_tokens} and {more.setting.trim_to:g}, shows "
            f"{percent(more.totals.share)} for {percent(more.cost)}"
        )
    return f"{said}."


def _not_to_trim(never: Totals, points: Sequence[Point], spend: float, context: int | None) -> str:
    room = f" of the model's {context:,}" if context else ""
    said = f"Do not trim: the longest request takes {never.peak:,}{room} tokens"
    frontier = [point for point in points if point.on_frontier]
    shown = [point.totals.share for point in frontier if point.cost <= spend]
    if not points:
        return f"{said}."
    if shown:
        most = f"{percent(max(shown))} of the conversation"
        return f"{said}, and for {percent(spend)} of the cost the model would see only {most}."
    if frontier:
        cheapest = min(frontier, key=lambda point: point.cost)
        whole = "" if cheapest.totals.clamped else " that keeps messages whole"
        return (
            f"{said}, and the cheapest setting{whole}, max_tokens={cheapest.setting.max_tokens}, "
            f"still costs {percent(cheapest.cost)} and shows {percent(cheapest.totals.share)}."
        )
    if any(point.cost < 1 and not point.totals.over for point in points):
        return f"{said}, and every setting that costs less shortens messages."
    return f"{said}, and never trimming is cheapest."


_OUTGROWN = "The longest request would take {:,} tokens, and the model takes {:,}. "
_TOO_SMALL = (
    "No budget will do: the longest request takes {:,} tokens, the model {:,}, and what must stay "
    "does not fit below that."
)
