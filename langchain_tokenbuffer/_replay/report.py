"""All that a run of the command found out, and the same as plain data for scripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.simulation import totals_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._replay.advice import Advice, SweepResult
    from langchain_tokenbuffer._replay.simulation import Call, CountedTranscript, Prices, Setting, Totals


@dataclass(frozen=True)
class Report:
    """What is printed, drawn or written."""

    file: str  # where the transcripts came from
    model: str  # the name given
    counted_by: str  # what counted, and how exact that is
    context: int | None  # what the model takes, in tokens, where it is known
    prices: Prices  # what a token costs
    setting: Setting | None  # what was simulated; `None`: nothing was trimmed
    simulated: Sequence[tuple[CountedTranscript, Sequence[Call]]]  # the conversations and their calls
    never: Totals  # what never trimming comes to
    advice: Advice | None  # the sweep, if there was one
    notes: Sequence[str] = ()  # what else to know of the files, a sentence each

    @cached_property
    def totals(self) -> Totals:
        return totals_of(self.simulated, self.prices)

    @property
    def longest(self) -> tuple[CountedTranscript, Sequence[Call]]:
        """The conversation with the most tokens: the one to draw."""
        return max(self.simulated, key=lambda each: each[0].cumulative[-1])

    @property
    def unit(self) -> str:
        return "" if self.prices.in_money else " tokens at the input price"

    def money(self, cost: float) -> float:
        """Return a cost in money, or in tokens at the input price."""
        return cost / 1e6 if self.prices.in_money else cost


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON can hold it; the keys are stable."""
    advice = report.advice
    return {
        "format": 1,  # counts up when a key changes its meaning or goes; new keys may come any time
        "file": report.file,
        "model": report.model,
        "counted": report.counted_by,
        "notes": list(report.notes),
        "context": report.context,
        "prices": asdict(report.prices),
        "setting": report.setting and report.setting._asdict(),
        "conversations": [_conversation(report, *each) for each in report.simulated],
        "totals": _totals(report, report.totals),
        "never_trimming": _totals(report, report.never),
        "advice": advice and {"setting": advice.setting and advice.setting._asdict(), "sentence": advice.sentence},
        "sweep": advice and [_result(report, result) for result in advice.results],
    }


def _conversation(report: Report, counted: CountedTranscript, calls: Sequence[Call]) -> dict[str, Any]:
    return {
        "name": counted.transcript.name,
        "model": counted.transcript.model,
        "model_from": counted.transcript.model_from,
        "mended": Counter(each.code for each in counted.transcript.mended),
        "messages": len(counted.messages),
        "tools": len(counted.transcript.tools),
        "fixed_tokens": counted.fixed,
        "calls": [_call(report, call) for call in calls],
        "totals": _totals(report, totals_of([(counted, calls)], report.prices)),
    }


def _call(report: Report, call: Call) -> dict[str, Any]:
    return {
        "number": call.number,
        "messages": call.length,
        "tokens": call.tokens,
        "history_tokens": call.total_tokens,
        "reason": call.reason,
        "cut": call.cut,
        "held": list(call.kept_before_cut),
        "dropped": call.dropped,
        "left": list(call.left),
        "clamped": [{"message": i, "tokens": tokens} for i, tokens in call.clamped.items()],
        "cleared": sorted(call.cleared),
        "facts": call.facts,
        "facts_held": call.facts - len(call.missing),
        "missing": [{"fact": need.fact, "message": need.newest_before(call.length)} for need in call.missing],
        "recalled_tokens": call.recalled_tokens,
        "reusable_tokens": call.reusable,
        "cached_tokens": report.prices.cached_tokens(call.reusable),
        "cost": report.money(call.cost),
        "error": call.error,
    }


def _totals(report: Report, totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "tokens": totals.tokens,
        "largest_call": totals.peak,
        "cached_tokens": totals.cached,
        "share_seen": round(totals.share, 6),
        "cost": report.money(totals.cost),
        "moved": totals.moved,
        "clamped": totals.clamped,
        "over": totals.over,
        **_facts(totals),
    }


def _facts(totals: Totals) -> dict[str, int]:
    names = ("facts", "facts_held", "replies", "replies_whole")
    return {name: getattr(totals, name) for name in names}


def _result(report: Report, result: SweepResult) -> dict[str, Any]:
    totals = _totals(report, result.totals)
    return {
        **result.setting._asdict(),
        **{key: totals[key] for key in ("share_seen", "cost")},
        "cost_share": round(result.cost_share, 6),
        **{key: totals[key] for key in ("moved", "clamped", "over")},
        **_facts(result.totals),
        "on_frontier": result.on_frontier,
    }
