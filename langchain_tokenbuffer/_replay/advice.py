"""A sweep over `max_tokens`, `trim_to`, `clear_results` and `recall_tokens`, and the setting to take.

What a setting is worth is what replies miss with it, then the share of the conversation that the model sees; what it
takes is the input's cost against never trimming. The frontier are the settings that no cheaper one is worth as much as.

Recall takes the most time, so it is tried last: where replies miss something and the cost leaves room for it, at the
low-water mark to take without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from langchain_tokenbuffer._replay.simulation import Setting, trimmed, untrimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Totals

TRIM_TOS = (0.4, 0.5, 0.6, 0.8, 1.0)
USUAL = 0.6  # of them, the one that everything else has by default
BUDGETS = 9  # how many are tried, between what the fixed part allows and the whole conversation
_GRIDS = ((BUDGETS, TRIM_TOS), (BUDGETS, (0.5, 0.6, 0.8)), (BUDGETS, (USUAL,)), (6, (USUAL,)), (4, (USUAL,)))
MAX_CALLS = 60_000  # that a sweep simulates: with longer conversations fewer settings are tried
MAX_QUESTIONS = 1_500  # that a sweep ranks passages for: with more, recall is tried with fewer budgets, or none
RECALL = "recall_tokens"  # the way that has another number for each budget
_RECALLED = 8  # of `max_tokens`, the share that is recalled is one in so many
_MOST_RECALLED = 6_000  # tokens, however large the budget
_WIDEST = 16  # the smallest budget is the whole conversation divided by this
USABLE = 0.95  # of a model's context, what a budget may take; the rest is for what nobody can count
COMFORTABLE = 0.8  # of a model's context, what a conversation may take that is still growing
SPEND = 0.5  # of the cost of never trimming, what the setting to take may cost
MAX_MISSES = 1 / 10  # of the replies that use something earlier, how many may miss it for a setting to be worth it
MIN_REPLIES = 20  # that use something earlier, for what they miss to decide alone
WORTH = 1 / 4  # of the conversation, what the model has to see where they are fewer
_OUTGROWN = "The longest request would take {:,} tokens, and the model takes {:,}."
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

    @property
    def way(self) -> str:
        return way_of(self.setting)

    @property
    def worth(self) -> tuple[int, float]:
        """What it is compared by: fewer replies that miss something, then more that is seen."""
        return -self.totals.misses, self.totals.share


@dataclass(frozen=True)
class Advice:
    """What to do, and what it rests on."""

    setting: Setting | None  # what to take; `None`: do not trim
    sentences: tuple[str, ...]  # the same in words, with its numbers, and what it is the best at
    results: tuple[SweepResult, ...]  # every setting tried, in order
    never: Totals  # what never trimming comes to

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)

    @property
    def trim_to(self) -> float:
        """The low-water mark of what to take; where nothing is, the usual one if it was tried."""
        return self.setting.trim_to if self.setting else _usual(each.setting for each in self.results)

    @property
    def ways(self) -> list[str]:
        """What was set beside budget and low-water mark, without what helps nothing."""
        plain = {each.setting: each for each in self.results if not each.way}
        helping = {each.way for each in self.results if each.setting == self.setting or _differs(each, plain)}
        return [way for way in dict.fromkeys(each.way for each in self.results) if way in helping]


def _differs(result: SweepResult, plain: Mapping[Setting, SweepResult]) -> bool:
    """Tell whether a way comes to something else than none at the same budget; recall, to fewer replies that miss."""
    same = plain.get(Setting(result.setting.max_tokens, result.setting.trim_to))
    if same is None or not result.way:
        return True
    if result.setting.recall_tokens:
        return result.totals.misses < same.totals.misses
    return (result.cost_share, result.worth) != (same.cost_share, same.worth)


def advise(
    transcripts: Sequence[CountedTranscript],
    prices: Prices,
    *,
    context: int | None = None,
    trim_tos: Sequence[float] | None = None,
    clear_results: bool | None = None,
    recall_tokens: int | None = None,
    spend: float = SPEND,
    track: Callable[[Sequence[Setting], str], Iterable[Setting]] = lambda settings, _: settings,
) -> Advice:
    """Try settings on conversations and say which to take: one that costs at most `spend` of never trimming, if any.

    `trim_tos`, `clear_results` and `recall_tokens` are tried instead of what usually is. `track` goes through what is
    tried, and may say how far it is.
    """
    never = untrimmed(transcripts, prices)

    def tried(settings: Sequence[Setting], what: str) -> list[SweepResult]:
        totals = ((setting, trimmed(transcripts, setting, prices)) for setting in track(settings, what))
        return [SweepResult(setting, each, each.cost_share(never)) for setting, each in totals]

    settings = _settings(transcripts, _clearing(transcripts, clear_results), trim_tos, (prices.floor, context))
    if recall_tokens:
        settings = _recalling(transcripts, _at(_usual(settings), settings), recall_tokens)
    results = tried(settings, "Trying budgets")
    advice = _advised(results, never, context, spend)
    if recall_tokens is None and all(counted.can_recall for counted in transcripts):
        missing = [each for each in results if each.totals.misses and not each.totals.over]
        paid = [each.setting for each in missing if each.cost_share <= spend]  # with recall they cost more
        settings = _recalling(transcripts, _at(advice.trim_to, paid))
        results = sorted([*results, *tried(settings, "Trying recall")], key=lambda each: each.setting)
        advice = _advised(results, never, context, spend)
    return advice


def _advised(results: Sequence[SweepResult], never: Totals, context: int | None, spend: float) -> Advice:
    """Say which of the settings tried to take."""
    filled = never.peak / context if context else 0.0
    frontier = [each for each in _frontier(results) if each.cost_share < 1 or filled > USABLE]
    best = _best(frontier, spend, must=filled > COMFORTABLE)
    if best is not None:
        before = [_OUTGROWN.format(never.peak, context)] if filled > USABLE else []
        sentences = [*before, *_to_take(best, results, spend)]
    elif filled > USABLE:
        sentences = [_TOO_SMALL.format(never.peak, context)]
    else:
        sentences = [_not_to_trim(never, context, _why_not(results, frontier, spend))]
    tried = tuple(replace(each, on_frontier=each in frontier) for each in results)
    return Advice(best.setting if best else None, tuple(sentences), tried, never)


def _clearing(transcripts: Iterable[CountedTranscript], asked: bool | None) -> tuple[bool, ...]:  # noqa: FBT001
    """Return whether results are cleared, or both where there are some and nobody asked for one."""
    has_results = any(message.kind == "tool" for counted in transcripts for message in counted.messages)
    if asked is not None:
        return (asked,)
    return (False, True) if has_results else (False,)


def _settings(
    transcripts: Sequence[CountedTranscript],
    clearing: Sequence[bool],
    trim_tos: Sequence[float] | None,
    limits: tuple[int, int | None],
) -> list[Setting]:
    """Return what is tried; less of it the more calls there are."""
    calls = sum(len(counted.call_indices) for counted in transcripts)
    for count, usual in _GRIDS:
        marks = trim_tos or usual
        if calls * count * len(marks) * len(clearing) <= MAX_CALLS:
            break
    budgets = _budgets(transcripts, count, *limits)
    return [Setting(*each) for each in product(budgets, marks, clearing)]


def _usual(settings: Iterable[Setting]) -> float:
    """Return the low-water mark tried that is nearest to the usual one."""
    return min((each.trim_to for each in settings), key=lambda mark: abs(mark - USUAL), default=USUAL)


def _at(mark: float, settings: Iterable[Setting]) -> list[Setting]:
    return [each for each in settings if each.trim_to == mark]


def _recalling(transcripts: Iterable[CountedTranscript], settings: Sequence[Setting], asked: int = 0) -> list[Setting]:
    """Return settings with recall, `asked` or the usual: evenly spaced, the fewer the more questions there are."""
    settings = [each for each in settings if each.max_tokens > asked]
    questions = sum(each.kind == "human" for counted in transcripts for each in counted.messages)
    count = min(len(settings), max(MAX_QUESTIONS // max(1, questions), int(asked > 0)))
    spaced = [settings[(2 * n + 1) * len(settings) // (2 * count)] for n in range(count)]
    return [each._replace(recall_tokens=asked or min(each.max_tokens // _RECALLED, _MOST_RECALLED)) for each in spaced]


def _budgets(transcripts: Iterable[CountedTranscript], count: int, floor: int, context: int | None) -> list[int]:
    """Return round budgets, evenly spaced as ratios; none that no cache serves, unless the model takes no others."""
    longest = max(each.longest for each in transcripts)
    beside = max(each.fixed + each.head_tokens for each in transcripts)
    top = longest if context is None else min(longest, USABLE * context)
    least = max(floor, 1) if floor < top or top == longest else 1
    low = max(top / _WIDEST, 1.5 * beside, least)
    steps = (low * (top / low) ** (n / count) for n in range(count))
    return sorted({max(_rounded(step), least) for step in steps}) if low < top else []


def _rounded(value: float) -> int:
    """Round to two digits, down."""
    unit: int = 10 ** max(0, len(str(int(value))) - 2)
    return int(value) // unit * unit


def _frontier(results: Iterable[SweepResult]) -> list[SweepResult]:
    """Return the settings that are worth more than every cheaper one, cheapest first.

    One that could not keep the budget is no choice, one that shortens messages only where none does without.
    """
    sent = [result for result in results if not result.totals.over]
    least = min((result.totals.clamped for result in sent), default=0)
    whole = [result for result in sent if result.totals.clamped == least]
    frontier: list[SweepResult] = []
    for result in sorted(whole, key=lambda result: (result.cost_share, *(-each for each in result.worth))):
        if not frontier or result.worth > frontier[-1].worth:
            frontier.append(result)
    return frontier


def _best(frontier: Sequence[SweepResult], spend: float, *, must: bool) -> SweepResult | None:
    """Return what is worth the most for the money; `None` if nothing is worth it.

    Where the conversation outgrows the model something has to be taken.
    """
    paid = [result for result in frontier if result.cost_share <= spend]
    if paid and (must or _is_worth_it(paid[-1].totals)):
        return paid[-1]
    if not (must and frontier):
        return None
    return next((result for result in reversed(frontier) if result.cost_share <= 1), frontier[0])


def _is_worth_it(totals: Totals) -> bool:
    if totals.misses > MAX_MISSES * totals.replies:
        return False
    return totals.replies >= MIN_REPLIES or totals.share >= WORTH


def percent(share: float) -> str:
    """Spell a share."""
    return f"{100 * share:.0f} %"


def spelt(setting: Setting) -> str:
    """Spell a setting as the arguments of a `TokenBuffer`; what is off is left out."""
    recalled = f"={setting.recall_tokens}" if setting.recall_tokens else ""
    way = f", {way_of(setting)}{recalled}" if way_of(setting) else ""
    return f"max_tokens={setting.max_tokens}, trim_to={setting.trim_to:g}{way}"


def way_of(setting: Setting) -> str:
    """Spell what is set beside budget and low-water mark; empty: nothing."""
    ways = {"clear_results=True": setting.clear_results, RECALL: setting.recall_tokens}
    return ", ".join(way for way, is_on in ways.items() if is_on)


def missed(totals: Totals) -> str:
    """Say how many replies miss something, of those that use something earlier."""
    number = f"{totals.misses:,}" if totals.misses else "none"
    return f"{number} of {totals.replies:,} replies {'misses' if totals.misses <= 1 else 'miss'} something"


def _to_take(best: SweepResult, results: Sequence[SweepResult], spend: float) -> Iterator[str]:
    totals, sees = best.totals, f"the model sees {percent(best.totals.share)} of the conversation"
    what = f"{missed(totals)}, {sees}" if totals.replies else sees
    yield f"Take {spelt(best.setting)}: {what}, for {percent(best.cost_share)} of what never trimming costs."
    yield _goal(best, spend)
    if totals.misses:
        yield _for_none(results)


def _goal(best: SweepResult, spend: float) -> str:
    """Say what the setting to take is the best at."""
    if best.cost_share > max(1, spend):
        return "It is the cheapest of all settings."
    limit = percent(spend if best.cost_share <= spend else 1)
    most = "with which the model sees most (no reply uses an id, number or argument that was said before)"
    if best.totals.replies:
        most = "with which the fewest replies miss something, and then the one with which the model sees most"
    return f"Of all settings that cost at most {limit} it is the one {most}."


def _for_none(results: Sequence[SweepResult]) -> str:
    """Say what it costs that no reply misses anything."""
    whole = next((each for each in _frontier(results) if not each.totals.misses), None)
    if whole is None:
        return "With no setting tried all replies have what they use."
    return f"With {spelt(whole.setting)} none does, for {percent(whole.cost_share)}."


def _not_to_trim(never: Totals, context: int | None, why: str) -> str:
    room = f" of the model's {context:,}" if context else ""
    return f"Do not trim: the longest request takes {never.peak:,}{room} tokens{why}."


def _why_not(results: Sequence[SweepResult], frontier: Sequence[SweepResult], spend: float) -> str:
    """Say why no setting is worth it."""
    if not results:
        return ""
    if paid := [result for result in frontier if result.cost_share <= spend]:
        return f", and for {percent(spend)} of the cost {_lack(paid[-1].totals)}"
    if frontier:
        cheapest = frontier[0]
        whole = "" if cheapest.totals.clamped else " that keeps messages whole"
        return (
            f", and the cheapest setting{whole}, {spelt(cheapest.setting)}, "
            f"still costs {percent(cheapest.cost_share)} and {_lack(cheapest.totals)}"
        )
    if any(result.cost_share < 1 and not result.totals.over for result in results):
        return ", and every setting that costs less shortens messages"
    return ", and never trimming is cheapest"


def _lack(totals: Totals) -> str:
    """Say why a setting is not worth it."""
    if totals.misses > MAX_MISSES * totals.replies:
        return missed(totals)
    return f"the model sees only {percent(totals.share)} of the conversation"
