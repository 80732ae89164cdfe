"""A transcript under a budget: `python -m langchain_tokenbuffer replay FILE`.

Shows, for every model call of your own conversations, what a budget would have sent, what left and why, what the prompt
cache could serve and what the input cost; and which budget to take. Nothing is sent anywhere: models are known by their
names alone.

`--json` prints one object. Its keys: `format` (counts up when a key changes its meaning or goes), `file`, `model`,
`counted` (by what, and how exactly), `context` (what the model takes), `prices`, `setting` (`max_tokens`, `trim_to` and
`clear_results`; null: nothing was trimmed), `conversations` (`name`, `messages`, `tools`, `fixed_tokens`, `calls`,
`totals`), `totals`, `never_trimming`, `advice` (`setting`, `sentence`) and `sweep` (a list of settings, with
`share_seen`, `cost_share` of never trimming, `on_frontier`); the last two are null without a sweep. A call has
`number`, `messages` (how many there were), `tokens`, `history_tokens`, `reason`, `cut`, `held` (indices kept before the
cut), `dropped`, `left`, `clamped`, `cleared`, `reusable_tokens`, `cached_tokens`, `cost`, `error`, `facts` (how many
ids, numbers and arguments the reply uses that were said before), `facts_held` (of these, by the window) and `missing`
(the others: each `fact`, and the newest `message` that has it). Totals have `calls`, `tokens`, `largest_call`,
`cached_tokens`, `share_seen`, `cost`, `moved`, `clamped`, `over`, `facts`, `facts_held`, `replies` (that use a fact)
and `replies_whole` (whose facts the window all held). Costs are in the prices' unit: tokens at the input price, or
money.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.providers import PROVIDERS, provider_of
from langchain_tokenbuffer._replay.advice import SPEND, advise
from langchain_tokenbuffer._replay.files import read
from langchain_tokenbuffer._replay.model_names import context_of, counter_of
from langchain_tokenbuffer._replay.report import Report, as_json
from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Setting, calls_of, untrimmed
from langchain_tokenbuffer._replay.transcripts import EXPECTED, UnreadableError
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_tokenbuffer._replay.transcripts import Transcript

_CACHE_PRICES = {row.name: row.cache_prices for row in PROVIDERS if row.cache_prices is not None}
_TRIM_TO = 0.6
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
        outputs = _outputs(options)
    except ImportError as error:
        return _fail(f"{_NEEDS_EXTRA} ({error})")
    try:
        report = _report(options)
        for output in outputs:
            output(report)
    except (OSError, TokenBufferError, ValueError) as error:
        return _fail(f"{options.file}: {error}")
    return 1 if report.totals.over else 0


def _outputs(options: argparse.Namespace) -> list[Callable[[Report], None]]:
    """Return what to do with a report: before there is one, so that an extra is missed early."""
    outputs: list[Callable[[Report], None]] = [_print_json]
    if not options.json:
        from langchain_tokenbuffer._replay.table import show  # noqa: PLC0415  # the extra's

        outputs = [partial(show, everything=options.all)]
    if options.plot is not None:
        if options.plot.suffix == ".html":
            from langchain_tokenbuffer._replay.page import write  # noqa: PLC0415  # if asked for
        else:
            from langchain_tokenbuffer._replay.picture import write  # noqa: PLC0415  # the extra's
        outputs.append(partial(write, path=options.plot))
    return outputs


def _print_json(report: Report) -> None:
    print(json.dumps(as_json(report), ensure_ascii=False))  # noqa: T201  # a command


def _fail(why: str) -> int:
    print(f"langchain-tokenbuffer: {why}", file=sys.stderr)  # noqa: T201
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
        epilog=f"FILE holds {EXPECTED}; also the SQLite file of LangGraph's checkpoints. Exit codes: 0 fine; 1 some "
        "call could not be kept within the budget; 2 wrong usage, or a file that cannot be read. The keys of --json "
        "are described in `pydoc langchain_tokenbuffer.replay`.",
    )
    _add_options(replay)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    add: Callable[..., object] = command.add_argument
    model = "a model, an encoding such as o200k_base, or a tokenizer.json (default: gpt-4o)"
    spend = "recommend what costs at most this share of never trimming (default: %(default)s)"
    add("file", metavar="FILE", help="the transcript; - reads standard input")
    add("--model", default="gpt-4o", metavar="NAME", help=model)
    add("--max-tokens", **_TOKENS, help="the budget of a request; without it, try many and recommend one")
    add("--trim-to", **_SHARE, help=f"the low-water mark in (0, 1] (default: {_TRIM_TO}; in a sweep several are tried)")
    add("--clear-results", **_EITHER, help="clear results of old steps first (default: no; in a sweep both are tried)")
    add("--sweep", action="store_true", help="try many budgets also beside --max-tokens")
    add("--spend", **_SHARE, default=SPEND, help=spend)
    add("--context", **_TOKENS, help="how many tokens the model takes (default: what its installed package says)")
    add("--conversation", metavar="NAME", help="only this one of the file, by name or number")
    add("--plot", **_PICTURE, help="draw the window to OUT.png or OUT.html")
    add("--all", action="store_true", help="show calls before which nothing happened, too")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add = command.add_argument_group("prices of input tokens, as ratios or per million tokens").add_argument
    presets = (
        "cached and written tokens as shares of the input price: openai 0.1 and 1, anthropic 0.1 and 1.25 "
        "(default: anthropic for Claude models, else openai)"
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


def _prices(options: argparse.Namespace) -> Prices:
    full = 1.0 if options.price_input is None else options.price_input
    provider = options.prices or provider_of(options.model).name
    cached, write = _CACHE_PRICES.get(provider, _CACHE_PRICES["openai"])
    return Prices(
        input=full,
        cached=cached * full if options.price_cached is None else options.price_cached,
        write=write * full if options.price_write is None else options.price_write,
        floor=options.cache_floor,
        in_money=options.price_input is not None,
    )


def _report(options: argparse.Namespace) -> Report:
    counted, counted_by = _counted(options)
    prices, context = _prices(options), options.context or context_of(options.model)
    never, advice, setting = untrimmed(counted, prices), None, None
    if options.max_tokens is not None:
        setting = Setting(options.max_tokens, options.trim_to or _TRIM_TO, bool(options.clear_results))
    if options.sweep or setting is None:
        asked = {"trim_tos": options.trim_to and (options.trim_to,), "clear_results": options.clear_results}
        advice = advise(counted, prices, context=context, spend=options.spend, **asked)
        setting = setting or advice.setting
    simulated = setting or Setting(2 * never.peak + 1, 1.0)  # which nothing passes
    calls = [(each, list(calls_of(each, simulated, prices))) for each in counted]
    return Report(options.file, options.model, counted_by, context, prices, setting, calls, never, advice)


def _counted(options: argparse.Namespace) -> tuple[list[CountedTranscript], str]:
    """Return the file's conversations that call a model, and what counted them."""
    transcripts = _chosen(read(options.file), options.conversation)
    counter = counter_of(options.model)
    counted = [each for each in (CountedTranscript(one, counter) for one in transcripts) if each.call_indices]
    if not counted:
        raise UnreadableError(found="messages that call no model")
    return counted, counter.describe()


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
