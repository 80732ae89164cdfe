"""The report in a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from langchain_tokenbuffer._replay.advice import percent
from langchain_tokenbuffer._replay.simulation import totals_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._replay.advice import Advice, SweepResult
    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.simulation import Call

_STYLES = {"fits": "dim", "held": "", "moved": "yellow", "clamped": "magenta", "over": "bold red"}
_CALL_COLUMNS = ("call", "sees", "tokens", "of", "cut", "why", "left", "reusable", "cost")
_LIST_COLUMNS = ("conversation", "messages", "calls", "largest", "sees", "moved", "clamped", "over", "cost")
_SWEEP_LEGEND = "In percent; bold: nothing shows more for less, *: shortens messages, -: does not hold."
_CALLS_LEGEND = "sees: messages of all; left: messages (their tokens); clamped: how many."
_NUMBERS = 66  # what the columns beside the name take, in characters
_MAX_LISTED = 12  # conversations that are listed without `--all`


def show(report: Report, *, everything: bool) -> None:
    """Print the report; `everything`: also the calls before which nothing happened."""
    console = Console(highlight=False, markup=False, emoji=False)  # names are the user's
    console.print(_header(report), *report.notes, sep="\n", soft_wrap=True)
    if report.advice is not None:
        if report.advice.results:
            console.print(_sweep(report.advice))
            console.print(_SWEEP_LEGEND, style="dim", soft_wrap=True)
        console.print(Text(report.advice.sentence, style="bold"), soft_wrap=True)
    if len(report.simulated) == 1:
        console.print(_calls(report, everything=everything))
        console.print(_CALLS_LEGEND, style="dim", soft_wrap=True)
    else:
        console.print(_conversations(report, console.width, everything=everything))
    for _, calls in report.simulated:
        for call in calls:
            if call.error is not None:
                console.print(Text(f"Call {call.number}: {call.error}", style="red"), soft_wrap=True)
    console.print(_summary(report), soft_wrap=True)


def _header(report: Report) -> str:
    transcripts, prices = [counted for counted, _ in report.simulated], report.prices
    parts = [
        _plural(len(transcripts), "conversation"),
        _plural(sum(len(counted.messages) for counted in transcripts), "message"),
        _plural(report.totals.calls, "model call"),
    ]
    if tools := max(len(counted.transcript.tools) for counted in transcripts):
        parts.append(f"{_plural(tools, 'tool')} ({max(counted.fixed for counted in transcripts):,} tokens)")
    write = f", written to the cache {prices.write:g}" if prices.write != prices.input else ""
    unit = " per million tokens" if prices.in_money else ""
    return (
        f"{report.file}: {', '.join(parts)}.\nCounted as {report.counted_by}.\nPrices: input {prices.input:g}, "
        f"cached {prices.cached:g}{write}{unit}; cached from {prices.floor:,} tokens on."
    )


def _plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _sweep(advice: Advice) -> Table:
    """A row for each budget, a column for each low-water mark."""
    title = "Seen of the conversation, and its cost (never trimming: 100, 100)"
    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("max_tokens \\ trim_to", justify="right")
    for mark in dict.fromkeys(result.setting.trim_to for result in advice.results):
        table.add_column(f"{mark:g} ", justify="right", no_wrap=True)
    for budget, results in groupby(advice.results, lambda result: result.setting.max_tokens):
        table.add_row(f"{budget:,}", *(_cell(result, advice) for result in results))
    return table


def _cell(result: SweepResult, advice: Advice) -> Text:
    if result.totals.over:
        return Text("-", style="dim")
    text = f"{100 * result.totals.share:.0f}, {100 * result.cost_share:.0f}"
    if result.totals.clamped:
        return Text(f"{text}*", style="dim")
    if result.setting == advice.setting:
        return Text(f"> {text} ", style="bold reverse")
    return Text(f"{text} ", style="bold" if result.on_frontier else "")


def _calls(report: Report, *, everything: bool) -> Table:
    """A row for each call of the only conversation at which something happened."""
    ((counted, calls),) = report.simulated
    table = _table(report, _CALL_COLUMNS)
    for call in _eventful(calls, everything=everything):
        if isinstance(call, int):
            table.add_row("…", _plural(call, "call"), style="dim")
            continue
        sees = f"{call.length - call.dropped:,}/{call.length:,}"
        why = f"clamped {len(call.clamped)}" if call.reason == "clamped" else call.reason
        left = f"{len(call.left):,} ({counted.tokens_of(call.left):,})" if call.left else ""
        beside = _spelt(call.number, sees, call.tokens, call.total_tokens, call.cut, why, left, call.reusable)
        table.add_row(*beside, _cost(report, call.cost), style=_STYLES[call.reason])
    return table


def _spelt(*cells: int | str) -> Iterator[str]:
    return (f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)


def _eventful(calls: Sequence[Call], *, everything: bool) -> Iterator[Call | int]:
    """Yield the calls at which something happened, and how many lie between them."""
    skipped, after_error = 0, True  # the first one is always shown
    for call in calls:
        is_quiet = call.reason in ("fits", "held") and not after_error
        if is_quiet and call is not calls[-1] and not everything:
            skipped += 1
            continue
        if skipped:
            yield skipped
        skipped, after_error = 0, call.error is not None
        yield call


def _conversations(report: Report, width: int, *, everything: bool) -> Table:
    """A row for each conversation, the longest first."""
    table, room = _table(report, _LIST_COLUMNS), max(10, width - _NUMBERS)
    ordered = sorted(report.simulated, key=lambda each: -each[0].cumulative[-1])
    listed = ordered if everything else ordered[:_MAX_LISTED]
    for counted, calls in listed:
        totals = totals_of([(counted, calls)], report.prices)
        name = counted.transcript.name
        if len(name) > room:  # names that are alike tend to end differently
            name = f"…{name[1 - room :]}"
        sizes, sees = (len(counted.messages), totals.calls, totals.peak), percent(totals.share)
        row = _spelt(*sizes, sees, totals.moved, totals.clamped, totals.over, _cost(report, totals.cost))
        table.add_row(Text(name), *row)
    if len(listed) < len(ordered):
        table.caption = f"the largest {_MAX_LISTED} of {len(ordered)}; --all shows every one"
    return table


def _table(report: Report, columns: Sequence[str]) -> Table:
    setting = report.setting
    title = f"max_tokens={setting.max_tokens}, trim_to={setting.trim_to:g}" if setting else "Never trimming"
    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("why", "conversation") else "right", no_wrap=True)
    return table


def _cost(report: Report, cost: float) -> str:
    return f"{report.money(cost):,.{5 if report.prices.in_money else 0}f}"


def _summary(report: Report) -> str:
    totals, never = report.totals, report.never
    cached, share = totals.cached / (totals.tokens or 1), totals.cost_share(never)
    over = f"\n{_plural(totals.over, 'call')} could not be kept within the budget." if totals.over else ""
    return (
        f"In all {_plural(totals.calls, 'call')}: {totals.tokens:,} tokens sent, the largest {totals.peak:,}; "
        f"{percent(cached)} of them from the cache; the model sees {percent(totals.share)} of the conversation.\n"
        f"Cost {_cost(report, totals.cost)}{report.unit}, {percent(share)} of never trimming "
        f"({_cost(report, never.cost)}, up to {never.peak:,} tokens a call).{over}"
    )
