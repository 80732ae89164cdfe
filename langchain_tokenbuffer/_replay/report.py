"""All that a run of the command found out, and the same as plain data for scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.measuring import Setting, Totals, calls_of, totals_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._replay.advice import Advice, Point
    from langchain_tokenbuffer._replay.measuring import Call, Measured, Prices

FORMAT = 1
"""Counts up when a key of the JSON changes its meaning or goes; new keys may come any time."""


@dataclass(frozen=True)
class Report:
    """What is printed, drawn or written.

    Attributes:
        file: Where the transcripts came from.
        model: The name given.
        counted: What counted, and how exact that is.
        context: What the model takes, in tokens, where it is known.
        prices: What a token costs.
        in_money: Whether prices are money per million tokens, else they are ratios.
        setting: What was replayed; `None`: nothing was trimmed.
        played: The conversations and their calls.
        totals: What these come to.
        never: What never trimming comes to.
        advice: The sweep, if there was one.
    """

    file: str
    model: str
    counted: str
    context: int | None
    prices: Prices
    in_money: bool
    setting: Setting | None
    played: Sequence[tuple[Measured, Sequence[Call]]]
    totals: Totals
    never: Totals
    advice: Advice | None

    def money(self, cost: float) -> float:
        """Return a cost in money, or in tokens at the input price."""
        return cost / 1e6 if self.in_money else cost

    @property
    def biggest(self) -> int:
        """The place of the conversation that says most: the one to draw."""
        sizes = [measured.upto[-1] for measured, _ in self.played]
        return sizes.index(max(sizes))


def replayed(
    measured: Sequence[Measured], setting: Setting | None, prices: Prices, never: Totals
) -> list[tuple[Measured, list[Call]]]:
    """Replay conversations; without a setting under a budget that nothing can pass."""
    setting = setting or Setting(2 * never.peak + 1, 1.0)
    return [(each, calls_of(each, setting, prices)) for each in measured]


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON can hold it; the keys are stable (`FORMAT`)."""
    advice = report.advice
    return {
        "format": FORMAT,
        "file": report.file,
        "model": report.model,
        "counted": report.counted,
        "context": report.context,
        "prices": {**asdict(report.prices), "in_money": report.in_money},
        "setting": _setting(report.setting),
        "conversations": [
            _conversation(report, measured, calls) for measured, calls in report.played
        ],
        "totals": _totals(report, report.totals),
        "never_trimming": _totals(report, report.never),
        "advice": None
        if advice is None
        else {"setting": _setting(advice.setting), "sentence": advice.sentence},
        "sweep": None if advice is None else [_point(report, each) for each in advice.points],
    }


def _setting(setting: Setting | None) -> dict[str, Any] | None:
    return None if setting is None else setting._asdict()


def _conversation(report: Report, measured: Measured, calls: Sequence[Call]) -> dict[str, Any]:
    return {
        "name": measured.name,
        "messages": len(measured.sized),
        "tools": len(measured.transcript.tools),
        "fixed_tokens": measured.fixed,
        "calls": [_call(report, call) for call in calls],
        "totals": _totals(report, totals_of([(measured, calls)], report.prices)),
    }


def _call(report: Report, call: Call) -> dict[str, Any]:
    return {
        "number": call.number,
        "messages": call.at,
        "tokens": call.tokens,
        "history_tokens": call.history,
        "reason": call.reason,
        "cut": call.cut,
        "held": list(call.held),
        "dropped": call.dropped,
        "left": list(call.left),
        "clamped": [{"message": index, "tokens": size} for index, size in call.clamped],
        "reusable_tokens": call.reusable,
        "cached_tokens": report.prices.served(call.reusable),
        "cost": report.money(call.cost),
        "error": call.error,
    }


def _totals(report: Report, totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "tokens": totals.tokens,
        "largest_call": totals.peak,
        "cached_tokens": totals.served,
        "share_seen": round(totals.share, 6),
        "cost": report.money(totals.cost),
        "moved": totals.moved,
        "clamped": totals.clamped,
        "over": totals.over,
    }


def _point(report: Report, point: Point) -> dict[str, Any]:
    return {
        **point.setting._asdict(),
        "share_seen": round(point.totals.share, 6),
        "cost": report.money(point.totals.cost),
        "cost_share": round(point.cost, 6),
        "moved": point.totals.moved,
        "clamped": point.totals.clamped,
        "over": point.totals.over,
        "on_frontier": point.on_frontier,
    }
