"""The report in a terminal: at most a screen, unless everything is asked for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from langchain_tokenbuffer._replay.advice import RECALL, missed, percent, spelt
from langchain_tokenbuffer._replay.simulation import totals_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_tokenbuffer._replay.advice import Advice, SweepResult
    from langchain_tokenbuffer._replay.needs import Need
    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.simulation import Call, CountedTranscript

_STYLES = {"fits": "dim", "held": "", "moved": "yellow", "cleared": "cyan", "clamped": "magenta", "over": "bold red"}
_WORDS = ("why", "way", "conversation")  # columns that are no figures
_NAMES = ("conversation",)  # columns that may be cut
_SHORTEST = 10  # of a name
_OPTIONAL = ("reusable", "of", "recalled", "moved", "messages", "largest", "tokens", "calls")
"""Columns that give way where a line is too short for all, in this order."""
_SWEEP_LEGEND = "Never trimming costs 100. >: to take; *: shortens messages; -: does not hold."
_IDLE = ("changes nothing", "helps no reply")
_CALLS_LEGEND = "left: messages (tokens); misses: of what the reply uses and was said before."
_LIST_LEGEND = "misses: replies that use something said before and gone, of those that use any."
_MAX_ROWS = 8  # calls, or conversations, that are listed without `--all`
_MAX_LINES = 4  # errors, and things that replies miss
_MAX_FACT = 40  # letters that are shown of one
T = TypeVar("T")


class _Row(NamedTuple):
    cells: Mapping[str, str]
    style: str = ""


class _Screen:
    """Where it is printed, and whether everything is."""

    def __init__(self, console: Console, *, everything: bool) -> None:
        self._console = console
        self.everything = everything

    def say(self, text: str, style: str = "") -> None:
        """Print a text in lines of its own: a terminal wraps them, a file keeps them."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def tabulate(self, title: str, rows: Sequence[_Row]) -> None:
        """Print a table with the columns for which a line has room: no figure is cut, names are."""
        widths = _widths(rows, self._console.width)
        table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
        for name in widths:
            table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(_end_of(row.cells.get(name, ""), room) for name, room in widths.items()), style=row.style)
        self.say(f"\n{title}")
        self._console.print(table)

    def some(self, items: Sequence[T], most: int) -> Sequence[T]:
        """Return so many of the items, or all."""
        return items if self.everything else items[:most]


def show(report: Report, *, everything: bool) -> None:
    """Print the report; `everything`: every call, every conversation and every setting."""
    console = Console(highlight=False, markup=False, emoji=False)  # names are the user's
    screen = _Screen(console, everything=everything)
    screen.say("\n".join((_header(report), *report.notes)))
    if report.advice is not None:
        if report.advice.results:
            _print_sweep(report.advice, screen)
        screen.say("\n".join(report.advice.sentences), "bold")
    if len(report.simulated) == 1:
        _print_calls(report, screen)
    else:
        _print_conversations(report, screen)
    _print_errors(report, screen)
    screen.say(_summary(report))


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


# --- the sweep ---


def _print_sweep(advice: Advice, screen: _Screen) -> None:
    """Print a row for each budget, at the low-water mark to take; else a row for every setting."""
    if screen.everything:
        rows = [_Row(_setting_cells(each, advice), _style(each, advice)) for each in advice.results]
    else:
        shown = [each for each in advice.results if each.setting.trim_to == advice.trim_to and each.way in advice.ways]
        rows = [_budget_row(list(each), advice) for _, each in groupby(shown, lambda each: each.setting.max_tokens)]
    screen.tabulate(_sweep_title(advice, screen), rows)
    idle = sorted({each.way for each in advice.results} - {*advice.ways})
    screen.say(" ".join([_SWEEP_LEGEND, *(f"{way} {_IDLE[RECALL in way]} here." for way in idle)]), "dim")


def _sweep_title(advice: Advice, screen: _Screen) -> str:
    mark = "" if screen.everything else f" at trim_to={advice.trim_to:g}"
    if not advice.never.replies:
        return f"What the model sees of the conversation{mark}, and the cost, in percent"
    return f"Of {advice.never.replies:,} replies that use something said before, how many miss it{mark}; the cost"


def _budget_row(results: Sequence[SweepResult], advice: Advice) -> _Row:
    """Return what a budget comes to in each way to keep it."""
    cells = {"max_tokens": f"{results[0].setting.max_tokens:,}"}
    for each in results:
        way = f" {each.way}" if each.way else ""
        what, cost = _came_to(each, advice)
        cells[f"{'misses' if advice.never.replies else 'sees'}{way}"] = what
        cells["cost" + " " * len(cells)] = cost
    return _Row(cells, next((style for each in results if (style := _style(each, advice))), ""))


def _came_to(result: SweepResult, advice: Advice) -> tuple[str, str]:
    """Return what replies miss with a setting, or what the model sees, and the cost."""
    totals = result.totals
    if totals.over:
        return "-", ""
    what = f"{totals.misses:,}" if advice.never.replies else f"{100 * totals.share:.0f}"
    taken = "> " if result.setting == advice.setting else ""
    return f"{taken}{what}", f"{100 * result.cost_share:.0f}{'*' if totals.clamped else ' '}"


def _setting_cells(result: SweepResult, advice: Advice) -> dict[str, str]:
    what, cost = _came_to(result, advice)
    return {
        "max_tokens": f"{result.setting.max_tokens:,}",
        "trim_to": f"{result.setting.trim_to:g}",
        "way": result.way,
        "misses" if advice.never.replies else "": what if advice.never.replies else "",
        "sees": percent(result.totals.share),
        "cost": cost,
        "frontier": "yes" if result.on_frontier else "",
    }


def _style(result: SweepResult, advice: Advice) -> str:
    return "bold" if result.setting == advice.setting else ""


# --- the calls ---


def _print_calls(report: Report, screen: _Screen) -> None:
    """Print a row for each call of the only conversation at which something happened, and what replies missed."""
    ((counted, calls),) = report.simulated
    chosen = calls if screen.everything else _chosen(calls)
    rows = [_Row(dict(_call_cells(report, counted, call)), _STYLES[call.reason]) for call in chosen]
    screen.tabulate(_title(report), rows)
    more = f"{len(chosen)} of {len(calls):,} calls; --all shows all. " if len(chosen) < len(calls) else ""
    screen.say(f"{more}{_CALLS_LEGEND}", "dim")
    _print_missing(calls, screen)


def _chosen(calls: Sequence[Call]) -> list[Call]:
    """Return the first call, the last, and between them those that tell most."""
    between = [call for call in calls[1:-1] if call.missing or call.reason not in ("fits", "held")]
    ranked = sorted(between, key=lambda call: (call.error is None, -len(call.missing)))
    return [calls[number - 1] for number in sorted({1, len(calls), *(call.number for call in ranked[: _MAX_ROWS - 2])})]


def _call_cells(report: Report, counted: CountedTranscript, call: Call) -> Iterator[tuple[str, str]]:
    number = {"clamped": len(call.clamped), "cleared": len(call.cleared)}.get(call.reason)
    yield "call", f"{call.number:,}"
    yield "sees", f"{call.length - call.dropped:,}/{call.length:,}"
    yield "tokens", f"{call.tokens:,}"
    yield "of", f"{call.total_tokens:,}"
    if report.setting and report.setting.recall_tokens:
        yield "recalled", f"{call.recalled_tokens:,}" if call.recalled_tokens else ""
    yield "why", f"{call.reason} {number}" if number else call.reason
    yield "left", f"{len(call.left):,} ({counted.tokens_of(call.left):,})" if call.left else ""
    yield "misses", f"{len(call.missing)}/{call.facts}" if call.missing else ""
    yield "reusable", f"{call.reusable:,}"
    yield "cost", _cost(report, call.cost)


def _print_missing(calls: Sequence[Call], screen: _Screen) -> None:
    """Print what replies used and the window no longer had: the transcript's own words, on the user's terminal."""
    missing = [(call, need) for call in calls for need in call.missing]
    for call, need in screen.some(missing, _MAX_LINES):
        place = need.newest_before(call.length) + 1
        screen.say(f"Call {call.number:,} used {_shortened(need)}, last said in message {place:,}.")
    _say_more(len(missing), screen)


def _say_more(count: int, screen: _Screen) -> None:
    if count > _MAX_LINES and not screen.everything:
        screen.say(f"… and {count - _MAX_LINES:,} more; --all shows all.", "dim")


def _shortened(need: Need) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in need.fact)
    return text if len(text) <= _MAX_FACT else f"{text[: _MAX_FACT - 1]}…"


# --- several conversations ---


def _print_conversations(report: Report, screen: _Screen) -> None:
    """Print a row for each conversation: those with the most replies that miss something first, then the longest."""
    each_totals = [(counted, totals_of([(counted, calls)], report.prices)) for counted, calls in report.simulated]
    ordered = sorted(each_totals, key=lambda each: (-each[1].misses, -each[0].cumulative[-1]))
    rows = []
    for counted, totals in screen.some(ordered, _MAX_ROWS):
        cells = {
            "conversation": counted.transcript.name,
            "messages": f"{len(counted.messages):,}",
            "calls": f"{totals.calls:,}",
            "largest": f"{totals.peak:,}",
            "sees": percent(totals.share),
            "misses": f"{totals.misses:,}/{totals.replies:,}",
            "moved": f"{totals.moved:,}",
            "clamped": f"{totals.clamped:,}",
            "over": f"{totals.over:,}",
            "cost": _cost(report, totals.cost),
        }
        rows.append(_Row(cells))
    screen.tabulate(_title(report), rows)
    more = f"{len(rows)} of {len(ordered):,} conversations; --all shows all. " if len(rows) < len(ordered) else ""
    screen.say(f"{more}{_LIST_LEGEND}", "dim")


# --- the rest ---


def _title(report: Report) -> str:
    return spelt(report.setting) if report.setting else "Never trimming"


def _widths(rows: Sequence[_Row], room: int) -> dict[str, int]:
    """Return the columns for which a line has room, and how wide each may be."""
    widths: dict[str, int] = {}
    for row in rows:
        for name, cell in row.cells.items():
            widths[name] = max(widths.get(name, cell_len(name)), cell_len(cell))
    widths |= {name: min(widths[name], _SHORTEST) for name in _NAMES if name in widths}
    for name in _OPTIONAL:
        if sum(widths.values()) + 2 * len(widths) > room:
            widths.pop(name, None)
    spare = max(0, room - sum(widths.values()) - 2 * len(widths))
    return {name: width + spare if name in _NAMES else width for name, width in widths.items()}


def _end_of(name: str, room: int) -> str:
    """Return the end of a name that is too long: names that are alike tend to end differently."""
    if cell_len(name) <= room:
        return name
    while name and cell_len(name) >= room:
        name = name[1:]
    return f"…{name}"


def _print_errors(report: Report, screen: _Screen) -> None:
    several = len(report.simulated) > 1
    errors = [
        f"{f'{counted.transcript.name}, call' if several else 'Call'} {call.number}: {call.error}"
        for counted, calls in report.simulated
        for call in calls
        if call.error is not None
    ]
    for line in screen.some(errors, _MAX_LINES):
        screen.say(line, "red")
    _say_more(len(errors), screen)


def _cost(report: Report, cost: float) -> str:
    return f"{report.money(cost):,.{5 if report.prices.in_money else 0}f}"


def _summary(report: Report) -> str:
    totals, never = report.totals, report.never
    cached, share = totals.cached / (totals.tokens or 1), totals.cost_share(never)
    over = f"\n{_plural(totals.over, 'call')} could not be kept within the budget." if totals.over else ""
    uses = f"; {missed(totals)} that was said before" if totals.replies else ""
    return (
        f"In all {_plural(totals.calls, 'call')}: {totals.tokens:,} tokens sent, the largest {totals.peak:,}; "
        f"{percent(cached)} of them from the cache; the model sees {percent(totals.share)} of the conversation{uses}.\n"
        f"Cost {_cost(report, totals.cost)}{report.unit}, {percent(share)} of never trimming "
        f"({_cost(report, never.cost)}, up to {never.peak:,} tokens a call).{over}"
    )
