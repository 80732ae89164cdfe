"""The report in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from langchain_tokenbuffer._replay.advice import percent
from langchain_tokenbuffer._replay.measuring import totals_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._replay.advice import Advice, Point
    from langchain_tokenbuffer._replay.measuring import Call, Measured, Totals
    from langchain_tokenbuffer._replay.report import Report

_STYLES = {"fits": "dim", "held": "", "moved": "yellow", "clamped": "magenta", "over": "bold red"}
_SWEEP_LEGEND = (
    "In percent; bold: nothing shows more for less, *: shortens messages, -: does not hold."
)
_CALLS_LEGEND = "sees: messages of all; left: messages (their tokens); clamped: how many."
_NUMBERS = 66
"""What the columns beside the name take, in characters."""
_FEW = 12
"""Conversations that are listed without `--all`."""


def show(report: Report, *, everything: bool) -> None:
    """Print the report.

    Args:
        report: What was found out.
        everything: Whether calls before which nothing happened are shown too.
    """
    console = Console(highlight=False, markup=False, emoji=False)  # names are the user's
    console.print(_opening(report), soft_wrap=True)
    if report.advice is not None:
        if report.advice.points:
            console.print(_sweep(report.advice))
            console.print(_SWEEP_LEGEND, style="dim", soft_wrap=True)
        console.print(Text(report.advice.sentence, style="bold"), soft_wrap=True)
    if len(report.played) == 1:
        (measured, calls), *_ = report.played
        console.print(_calls(report, measured, calls, everything=everything))
        console.print(_CALLS_LEGEND, style="dim", soft_wrap=True)
        _tell_errors(console, calls)
    else:
        console.print(_conversations(report, console.width, everything=everything))
        for _, calls in report.played:
            _tell_errors(console, calls)
    console.print(_closing(report), soft_wrap=True)


def _opening(report: Report) -> str:
    messages = sum(len(measured.sized) for measured, _ in report.played)
    count = len(report.played)
    tools = max(len(measured.transcript.tools) for measured, _ in report.played)
    fixed = max(measured.fixed for measured, _ in report.played)
    said = f"{_several(count, 'conversation')}, {_several(messages, 'message')}, "
    said += f"{_several(report.totals.calls, 'model call')}"
    if tools:
        said += f", {_several(tools, 'tool')} ({fixed:,} tokens)"
    prices = report.prices
    write = f", written to the cache {prices.write:g}" if prices.write != prices.input else ""
    unit = " per million tokens" if report.in_money else ""
    return (
        f"{report.file}: {said}.\nCounted as {report.counted}.\n"
        f"Prices: input {prices.input:g}, cached {prices.cached:g}{write}{unit}; "
        f"cached from {prices.floor:,} tokens on."
    )


def _several(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _sweep(advice: Advice) -> Table:
    """A row for each budget, a column for each low-water mark."""
    table = Table(
        title="Seen of the conversation, and its cost (never trimming: 100, 100)",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
    )
    marks = sorted({point.setting.trim_to for point in advice.points})
    table.add_column("max_tokens \\ trim_to", justify="right")
    for mark in marks:
        table.add_column(f"{mark:g} ", justify="right", no_wrap=True)
    by_setting = {point.setting: point for point in advice.points}
    for budget in sorted({point.setting.max_tokens for point in advice.points}):
        row = [_cell(by_setting[budget, mark], advice) for mark in marks]  # type: ignore[index]
        table.add_row(f"{budget:,}", *row)
    return table


def _cell(point: Point, advice: Advice) -> Text:
    if point.totals.over:
        return Text("-", style="dim")
    shown = f"{100 * point.totals.share:.0f}, {100 * point.cost:.0f}"
    if point.totals.clamped:
        return Text(f"{shown}*", style="dim")
    if point.setting == advice.setting:
        return Text(f"> {shown} ", style="bold reverse")
    return Text(f"{shown} ", style="bold" if point.on_frontier else "")


def _calls(report: Report, measured: Measured, calls: Sequence[Call], *, everything: bool) -> Table:
    table = Table(title=_title(report), box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in ("call", "sees", "tokens", "of", "cut"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", no_wrap=True)
    for name in ("left", "reusable", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in _rows(calls, everything=everything):
        if isinstance(row, int):
            table.add_row("…", f"{_several(row, 'call')}", style="dim")
            continue
        clamped = f" {len(row.clamped)}" if row.reason == "clamped" else ""
        table.add_row(
            f"{row.number:,}",
            f"{row.at - row.dropped:,}/{row.at:,}",
            f"{row.tokens:,}",
            f"{row.history:,}",
            f"{row.cut:,}",
            f"{row.reason}{clamped}",
            _left(measured, row),
            f"{row.reusable:,}",
            _cost(report, row.cost),
            style=_STYLES[row.reason],
        )
    return table


def _rows(calls: Sequence[Call], *, everything: bool) -> Iterator[Call | int]:
    """Yield the calls at which something happened, and how many lie between them."""
    skipped = 0
    for place, call in enumerate(calls):
        before = calls[place - 1] if place else None
        at_an_end = place in (0, len(calls) - 1)
        happened = call.reason in ("moved", "clamped", "over")
        changed = before is not None and before.reason == "over"
        if everything or at_an_end or happened or changed:
            if skipped:
                yield skipped
            skipped = 0
            yield call
        else:
            skipped += 1


def _left(measured: Measured, call: Call) -> str:
    if not call.left:
        return ""
    return f"{len(call.left):,} ({measured.tokens_of(call.left):,})"


def _conversations(report: Report, width: int, *, everything: bool) -> Table:
    table = Table(title=_title(report), box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("conversation", no_wrap=True)
    room = max(10, width - _NUMBERS)
    for name in ("messages", "calls", "largest", "sees", "moved", "clamped", "over", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(report.played, key=lambda each: -each[0].upto[-1])
    for measured, calls in ordered if everything else ordered[:_FEW]:
        totals = totals_of([(measured, calls)], report.prices)
        table.add_row(
            Text(_fitting(measured.name, room)),
            f"{len(measured.sized):,}",
            f"{totals.calls:,}",
            f"{totals.peak:,}",
            percent(totals.share),
            f"{totals.moved:,}",
            f"{totals.clamped:,}",
            f"{totals.over:,}",
            _cost(report, totals.cost),
        )
    if not everything and len(ordered) > _FEW:
        table.caption = f"the largest {_FEW} of {len(ordered)}; --all shows every one"
    return table


def _fitting(name: str, room: int) -> str:
    """Leave out how a long name begins: names that are alike tend to end differently."""
    return name if len(name) <= room else f"…{name[1 - room :]}"


def _title(report: Report) -> str:
    if report.setting is None:
        return "Never trimming"
    return f"max_tokens={report.setting.max_tokens}, trim_to={report.setting.trim_to:g}"


def _tell_errors(console: Console, calls: Sequence[Call]) -> None:
    for call in calls:
        if call.error is not None:
            console.print(Text(f"Call {call.number}: {call.error}", style="red"), soft_wrap=True)


def _cost(report: Report, cost: float) -> str:
    money = report.money(cost)
    return f"{money:,.5f}" if report.in_money else f"{money:,.0f}"


def _closing(report: Report) -> str:
    totals, never = report.totals, report.never
    said = (
        f"In all {_several(totals.calls, 'call')}: {totals.tokens:,} tokens sent, the largest "
        f"{totals.peak:,}; {percent(totals.served / (totals.tokens or 1))} of them from the cache; "
        f"the model sees {percent(totals.share)} of the conversation.\n"
    )
    unit = "" if report.in_money else " tokens at the input price"
    said += (
        f"Cost {_cost(report, totals.cost)}{unit}, {percent(totals.cost / (never.cost or 1))} of "
        f"never trimming ({_cost(report, never.cost)}, up to {never.peak:,} tokens a call)."
    )
    return said + _over(totals)


def _over(totals: Totals) -> str:
    if not totals.over:
        return ""
    return f"\n{_several(totals.over, 'call')} could not be kept within the budget."
