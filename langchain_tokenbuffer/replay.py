"""A transcript under a budget: `python -m langchain_tokenbuffer replay FILE`.

Shows, for every model call of your own conversations, what a budget would have sent, what left and why, what the prompt
cache could serve and what the input cost; and which budget to take. Nothing is sent anywhere: models are known by their
names alone.

`--json` prints one object. Its keys: `format` (counts up when a key changes its meaning or goes), `file`, `model`,
`counted` (by what, and how exactly), `context` (what the model takes), `prices`, `setting` (`max_tokens`, `trim_to`,
`clear_results` and `recall_tokens`; null: nothing was trimmed), `conversations` (`name`, `messages`, `tools`,
`fixed_tokens`, `calls`, `totals`), `totals`, `never_trimming`, `advice` (`setting`, `sentence`) and `sweep` (a list of
settings, with `share_seen`, `cost_share` of never trimming, `on_frontier`); the last two are null without a sweep. A
call has `number`, `messages` (how many there were), `tokens`, `history_tokens`, `reason`, `cut`, `held` (indices kept
before the cut), `dropped`, `left`, `clamped`, `cleared`, `recalled_tokens`, `reusable_tokens`, `cached_tokens`, `cost`,
`error`, `facts` (how many ids, numbers and arguments the reply uses that were said before), `facts_held` (of these, by
the window) and `missing` (the others: each `fact`, and the newest `message` that has it). Totals have `calls`,
`tokens`, `largest_call`, `cached_tokens`, `share_seen`, `cost`, `moved`, `clamped`, `over`, `facts`, `facts_held`,
`replies` (that use a fact) and `replies_whole` (whose facts the window all held). Costs are in the prices' unit: tokens
at the input price, or money.

`model` names all models, with commas. `notes` is a list of sentences on the files. A conversation also has the `model`
that counted it, `model_from` (`command`, `file` or `default`: who named it) and `mended` (what is out of order in it:
codes of `validate`, and how often).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.providers import PROVIDERS, provider_of
from langchain_tokenbuffer._replay.advice import SPEND, advise
from langchain_tokenbuffer._replay.counters import Counters
from langchain_tokenbuffer._replay.histories import ALL, HistoryOptions
from langchain_tokenbuffer._replay.model_names import DEFAULT
from langchain_tokenbuffer._replay.notes import mended_notes
from langchain_tokenbuffer._replay.progress import track
from langchain_tokenbuffer._replay.recognition import printable
from langchain_tokenbuffer._replay.report import Report, as_json
from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Setting, calls_of, untrimmed
from langchain_tokenbuffer._replay.sources import SourceError, read_all
from langchain_tokenbuffer._replay.transcripts import EXPECTED, UnreadableError
from langchain_tokenbuffer._window.settings import checked_recall
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from langchain_tokenbuffer._replay.transcripts import Transcript

    _Output: TypeAlias = Callable[[Report], None]

_CACHE_PRICES = {row.name: row.cache_prices for row in PROVIDERS if row.cache_prices is not None}
_TRIM_TO = 0.6
_SOURCES = (
    "transcripts: files, folders, a database's path or URL, such as sqlite:///chat.db or postgresql+psycopg://…; "
    "- reads standard input"
)
_NEEDS_EXTRA = (
    'the table and PNG pictures need an extra: pip install "langchain-tokenbuffer[replay]" '
    "(--json and --plot FILE.html do without)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: fine; 1: some call could not be kept within the budget; 2: wrong usage, or a file that cannot be read or written.
    """
    options = _parser().parse_args(arguments)
    try:
        prints, draws = _outputs(options)
        with _uncollected():
            report = _report(options)
    except ImportError as error:
        return _fail(f"{_NEEDS_EXTRA} ({error})")
    except (TokenBufferError, ValueError) as error:
        return _fail(str(error))
    _print(prints, report)
    if draws is not None:
        try:
            draws(report)
        except OSError as error:
            return _fail(_unwritable(options.plot, error))
        print(f"langchain-tokenbuffer: wrote {options.plot}", file=sys.stderr)  # noqa: T201
    return 1 if report.totals.over else 0


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile: each collection walks through the whole transcript, and there is next to none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _outputs(options: argparse.Namespace) -> tuple[_Output, _Output | None]:
    """Return what prints a report and what draws it: before there is one, so that what is missing is missed early."""
    prints: _Output = _print_json
    if not options.json:
        from langchain_tokenbuffer._replay.table import show  # noqa: PLC0415  # the extra's

        prints = partial(show, everything=options.all)
    if options.plot is None:
        return prints, None
    if options.plot.suffix == ".html":
        from langchain_tokenbuffer._replay.page import write  # noqa: PLC0415  # if asked for
    else:
        from langchain_tokenbuffer._replay.picture import write  # noqa: PLC0415  # the extra's
    try:
        options.plot.parent.joinpath("").stat()
    except OSError as error:
        raise TokenBufferError(_unwritable(options.plot, error)) from error
    return prints, partial(write, path=options.plot)


def _unwritable(path: Path, error: OSError) -> str:
    return f"the picture {str(path)!r} cannot be written: {error.strerror or error}"


def _print_json(report: Report) -> None:
    print(json.dumps(as_json(report), ensure_ascii=False))  # noqa: T201  # a command


def _print(prints: _Output, report: Report) -> None:
    """Print a report; where nobody reads on, as behind `| head`, that is quietly the end of it."""
    with suppress(SystemExit):  # which rich raises then, having turned the output off
        try:
            prints(report)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes, and complains


def _fail(why: str) -> int:
    print(f"langchain-tokenbuffer: {printable(why)}", file=sys.stderr)  # noqa: T201
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="langchain-tokenbuffer", description="Keep a LangChain conversation within a token budget."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('langchain-tokenbuffer')}")
    replay = parser.add_subparsers(title="commands", required=True, metavar="COMMAND").add_parser(
        "replay",
        help="a transcript through a budget: what is sent, what leaves, what it costs",
        description="Replay a transcript through a token budget, call by call, offline. Without --max-tokens many "
        "budgets are tried and one is recommended.",
        epilog=f"FILE holds {EXPECTED}. LangGraph's checkpoints are read from their SQLite file. Of several files, and "
        "in folders, what holds no conversation is passed over. Exit codes: 0 fine; 1 some call could not be kept "
        "within the budget; 2 wrong usage, or a file that cannot be read or written. The keys of --json are described "
        "in `pydoc langchain_tokenbuffer.replay`.",
    )
    _add_options(replay)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    add: Callable[..., object] = command.add_argument
    model = f"a model, an encoding such as o200k_base, or a tokenizer.json (default: as the file says, or {DEFAULT})"
    spend = "recommend what costs at most this share of never trimming (default: %(default)s)"
    recalled = "quote what left and matches the newest question (default: 0; in a sweep of chats it is tried)"
    add("file", metavar="FILE", nargs="+", help=_SOURCES)
    add("--model", metavar="NAME", help=model)
    add("--max-tokens", **_TOKENS, help="the budget of a request; without it, try many and recommend one")
    add("--trim-to", **_SHARE, help=f"the low-water mark in (0, 1] (default: {_TRIM_TO}; in a sweep several are tried)")
    add("--clear-results", **_EITHER, help="clear results of old steps first (default: no; in a sweep both are tried)")
    add("--recall-tokens", **_FLOOR, help=recalled)
    add("--sweep", action="store_true", help="try many budgets also beside --max-tokens")
    add("--spend", **_SHARE, default=SPEND, help=spend)
    add("--context", **_TOKENS, help="how many tokens the model takes (default: what its installed package says)")
    add("--conversation", metavar="NAME", help="only this one of the file, by name or number")
    add("--plot", **_PICTURE, help="draw the window to OUT.png or OUT.html")
    add("--all", action="store_true", help="show calls before which nothing happened, too")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add = command.add_argument_group("this package's own history in a database").add_argument
    add("--session", metavar="ID", help="only this session (default: all)")
    add("--prefix", default=ALL.prefix, help="what the names of its tables begin with (default: %(default)s)")
    add("--schema", help="the database schema they are in")
    add = command.add_argument_group("prices of input tokens, as ratios or per million tokens").add_argument
    presets = (
        "cached and written tokens as shares of the input price: openai 0.1 and 1, anthropic 0.1 and 1.25 "
        "(default: anthropic where most conversations are of Claude models, else openai)"
    )
    add("--prices", choices=sorted(_CACHE_PRICES), help=presets)
    add("--price-input", **_PRICE, help="money per million tokens")
    add("--price-cached", **_PRICE, help="one the cache serves")
    add("--price-write", **_PRICE, help="one that goes into it")
    add("--cache-floor", **_FLOOR, default=Prices.floor, help="tokens from which on a prefix is cached (default: 1024)")


def _value(kind: Callable[[str], Any], metavar: str, rule: str, is_right: Callable[[Any], bool]) -> dict[str, Any]:
    """Return the options of an argument that says what it accepts."""

    def value(text: str) -> Any:
        with suppress(ValueError):
            if is_right(found := kind(text)):
                return found
        msg = f"must {rule}, got {text!r}"
        raise argparse.ArgumentTypeError(msg)

    return {"type": value, "metavar": metavar}


_TOKENS = _value(int, "N", "be an int of at least 1", lambda found: found >= 1)
_FLOOR = _value(int, "N", "be an int of at least 0", lambda found: found >= 0)
_SHARE = _value(float, "SHARE", "be a number in (0, 1]", lambda found: 0 < found <= 1)
_PRICE = _value(float, "P", "be a number of at least 0", lambda found: 0 <= found < float("inf"))
_EITHER = {"action": argparse.BooleanOptionalAction}
_PICTURE = _value(Path, "OUT", "end in .png or .html", lambda found: found.suffix in (".png", ".html"))


def _prices(options: argparse.Namespace, transcripts: Sequence[Transcript]) -> Prices:
    full = 1.0 if options.price_input is None else options.price_input
    providers = Counter(provider_of(each.model).name for each in transcripts)
    provider = options.prices or providers.most_common(1)[0][0]
    cached, write = _CACHE_PRICES.get(provider, _CACHE_PRICES["openai"])
    return Prices(
        input=full,
        cached=cached * full if options.price_cached is None else options.price_cached,
        write=write * full if options.price_write is None else options.price_write,
        floor=options.cache_floor,
        in_money=options.price_input is not None,
    )


def _report(options: argparse.Namespace) -> Report:
    found = read_all(options.file, HistoryOptions(options.session, options.prefix, options.schema))
    counters = Counters(options.model)
    counted = _counted(_chosen(found.transcripts, options.conversation), counters, found.name)
    transcripts = [*map(attrgetter("transcript"), counted)]
    prices, context = _prices(options, transcripts), options.context or counters.context
    never, advice, setting = untrimmed(counted, prices), None, _setting(options)
    if options.recall_tokens:
        _refuse_agents(counted)
    if options.sweep or setting is None:
        asked = {"trim_tos": options.trim_to and (options.trim_to,), "clear_results": options.clear_results}
        asked["recall_tokens"] = options.recall_tokens
        advice = advise(counted, prices, context=context, spend=options.spend, track=track, **asked)
        setting = setting or advice.setting
    simulated = setting or Setting(2 * never.peak + 1, 1.0)  # which nothing passes
    calls = [(each, list(calls_of(each, simulated, prices))) for each in track(counted, "Replaying")]
    notes = (*found.notes, *mended_notes(transcripts))
    counted_by = counters.describe(transcripts)
    return Report(found.name, counters.names, counted_by, context, prices, setting, calls, never, advice, notes)


def _setting(options: argparse.Namespace) -> Setting | None:
    """Return the setting that the command gives, if it gives a budget."""
    if options.max_tokens is None:
        return None
    recall_tokens = checked_recall(options.recall_tokens or 0, options.max_tokens)
    return Setting(options.max_tokens, options.trim_to or _TRIM_TO, bool(options.clear_results), recall_tokens)


def _refuse_agents(transcripts: Iterable[CountedTranscript]) -> None:
    """Refuse recall for conversations whose windows the middleware makes."""
    if agent := next((each.transcript.name for each in transcripts if not each.can_recall), None):
        msg = f"--recall-tokens is for chats, and {agent!r} has tools: for an agent nothing is quoted; leave it out"
        raise TokenBufferError(msg)


def _counted(transcripts: Sequence[Transcript], counters: Counters, name: str) -> list[CountedTranscript]:
    """Return the conversations that call a model, in numbers, each as its own model counts."""
    counted = [counters.counted(each) for each in track(transcripts, "Counting")]
    calling = [each for each in counted if each.call_indices]
    if not calling:
        msg = f"{name}: {UnreadableError(found='messages that call no model')}"
        raise SourceError(msg)
    return calling


def _chosen(found: list[Transcript], wanted: str | None) -> list[Transcript]:
    if wanted is None:
        return found
    if named := [each for each in found if each.name == wanted]:
        return named
    if not wanted.isdecimal() or not 1 <= int(wanted) <= len(found):
        names = ", ".join(each.name for each in found[:5])
        more = ", …" if len(found) > 5 else ""  # noqa: PLR2004
        msg = f"there is no conversation {wanted!r}; the {len(found)} are {names}{more}"
        raise TokenBufferError(msg)
    return [found[int(wanted) - 1]]
