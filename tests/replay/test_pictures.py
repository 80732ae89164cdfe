"""What is drawn and printed of one call, of thousands and of several conversations."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._replay import page, picture, table
from langchain_tokenbuffer._replay.advice import advise
from langchain_tokenbuffer._replay.report import Report
from langchain_tokenbuffer._replay.scene import (
    MAX_GROUPS,
    MAX_MARKS,
    bands_of,
    groups_of,
    missed_in,
    title_of,
    tried_in,
)
from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Setting, calls_of, untrimmed
from langchain_tokenbuffer._replay.transcripts import Transcript
from tests.builders import ai_calling, count_words

if TYPE_CHECKING:
    from pathlib import Path

COUNTER = TokenCounter(count_words)
PRICES = Prices(floor=0)


def orders(steps: int, *, name: str = "orders", asks_back: int = 40) -> CountedTranscript:
    """Return a loop in which each step asks for what an earlier one found."""
    messages: list[BaseMessage] = [HumanMessage("find them all")]
    for step in range(steps):
        asked = f"W-{1000 + max(0, step - asks_back)}"
        messages.append(ai_calling(("look", {"order": asked}, f"call {step}")))
        messages.append(ToolMessage(f"W-{1001 + step} " + "word " * 60, tool_call_id=f"call {step}"))
    return CountedTranscript(Transcript(name, [*messages, AIMessage("done")]), COUNTER)


def reported(
    *talks: CountedTranscript, setting: Setting | None, sweep: bool = False, prices: Prices = PRICES
) -> Report:
    advice = advise(talks, prices, trim_tos=[0.6]) if sweep else None
    chosen = setting or Setting(10**9, 1.0)
    simulated = [(talk, list(calls_of(talk, chosen, prices))) for talk in talks]
    return Report("f.json", "words", "words", None, prices, setting, simulated, untrimmed(talks, prices), advice)


def printed(report: Report, capsys: pytest.CaptureFixture[str], *, everything: bool = False) -> list[str]:
    table.show(report, everything=everything)
    return capsys.readouterr().out.splitlines()


def page_of(report: Report, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    page.write(report, tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(re.findall(r'<script id="data" [^>]*>(.*?)</script>', text, re.DOTALL)[0])
    return text, data


MANY = reported(orders(2000), setting=Setting(1500, 0.6, clear_results=True), sweep=True)
FEW = reported(orders(80), setting=Setting(1500, 0.6), sweep=True)


# --- the terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [FEW, MANY], ids=["few", "many"])
def test_a_report_takes_at_most_a_screen(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(report, capsys)) <= 40


def test_many_conversations_take_at_most_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    many = [orders(3, name=f"talk {number}") for number in range(50)]
    assert len(printed(reported(*many, setting=Setting(200, 0.6)), capsys)) <= 40


def test_all_shows_every_call_setting_and_thing_missed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(FEW, capsys, everything=True)
    calls = FEW.simulated[0][1]
    assert sum(bool(re.match(r" *\d+ +\d+/\d+ ", line)) for line in lines) == len(calls)
    assert sum(line.startswith("Call ") for line in lines) == sum(len(call.missing) for call in calls)
    assert FEW.advice is not None
    assert sum(line.count("0.6") for line in lines if "max_tokens" not in line) >= len(FEW.advice.results)


def test_no_figure_of_a_table_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    money = Prices(input=1e6, cached=1e5, write=1e6, floor=0, in_money=True)
    report = reported(orders(1200), setting=Setting(1500, 0.6, clear_results=True), prices=money)
    lines = printed(report, capsys)
    assert not [line for line in lines if "…" in line and "more" not in line]
    last = report.simulated[0][1][-1]
    (row,) = [line for line in lines if line.split()[:1] == [f"{last.number:,}"]]
    assert f"{last.length - last.dropped:,}/{last.length:,}" in row.split()
    assert f"{last.cost / 1e6:,.5f}" in row.split()


def test_what_a_reply_used_and_its_window_did_not_have_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    call = next(call for call in FEW.simulated[0][1] if call.missing)
    (need,) = call.missing
    line = f"Call {call.number} used {need.fact}, last said in message {need.newest_before(call.length) + 1}."
    assert line in printed(FEW, capsys)


def test_what_is_named_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    messages = [HumanMessage("\x1b[31mred"), AIMessage("ok " * 10), HumanMessage("what " * 20)]
    messages.append(ai_calling(("look", {"at": "\x1b[31mred"}, "1")))
    report = reported(CountedTranscript(Transcript("it", messages), COUNTER), setting=Setting(30, 0.6))
    lines = printed(report, capsys)
    assert any("[31mred" in line for line in lines)
    assert "\x1b[31mred" not in "\n".join(lines)


def test_what_is_to_be_taken_has_a_sign(capsys: pytest.CaptureFixture[str]) -> None:
    report = reported(orders(300, asks_back=2), setting=Setting(1500, 0.6), sweep=True)
    assert report.advice is not None
    assert report.advice.setting is not None
    (line,) = [line for line in printed(report, capsys) if re.search(r"> \d", line)]
    assert line.split()[0] == f"{report.advice.setting.max_tokens:,}"


def test_clearing_has_a_column_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert any("misses clear_results=True" in line for line in printed(FEW, capsys))


def test_a_way_that_changes_nothing_is_said_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[BaseMessage] = []
    for number in range(300):
        messages += [HumanMessage("why " * 20), ai_calling(("look", {}, f"{number}"))]
        messages += [ToolMessage("so", tool_call_id=f"{number}"), AIMessage("well " * 20)]
    talk = CountedTranscript(Transcript("it", messages), COUNTER)
    lines = printed(reported(talk, setting=Setting(1500, 0.6), sweep=True), capsys)
    assert any("clear_results=True changes nothing here." in line for line in lines)
    assert not any("misses clear_results=True" in line for line in lines)


def codes(turns: int) -> CountedTranscript:
    """Return a chat in which each code is told once more, 100 turns after it was said."""
    messages: list[BaseMessage] = []
    for number in range(turns):
        asked = max(0, number - 100)
        messages.append(HumanMessage(f"Locker{number} has W-{1000 + number}. Which has locker{asked}? " + "why " * 30))
        messages.append(AIMessage(f"W-{1000 + asked}. " + "so " * 30))
    return CountedTranscript(Transcript("codes", messages), COUNTER)


CODES = reported(codes(150), setting=Setting(1500, 0.6, recall_tokens=180), sweep=True)


def test_recall_has_a_column_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert any("misses recall_tokens" in line for line in printed(CODES, capsys))


@pytest.mark.parametrize("everything", [False, True])
def test_tables_with_recall_have_at_most_80_columns(everything: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    rows = [line for line in printed(CODES, capsys, everything=everything) if re.match(r" *[\d,]+  |─+$| *call ", line)]
    assert len(rows) > 10
    assert max(map(len, rows)) <= 80


def test_a_call_says_how_much_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    last = CODES.simulated[0][1][-1]
    (row,) = [line for line in printed(CODES, capsys) if re.match(rf" *{last.number} +\d+/", line)]
    assert f"{last.recalled_tokens}" in row.split()


def test_recall_that_helps_no_reply_is_said_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[BaseMessage] = []
    for number in range(150):
        messages.append(HumanMessage(f"W-{1000 + number} " + "why " * 30))
        messages.append(AIMessage(f"W-{1000 + max(0, number - 100)} " + "so " * 30))
    talk = CountedTranscript(Transcript("it", messages), COUNTER)
    lines = printed(reported(talk, setting=Setting(1500, 0.6), sweep=True), capsys)
    assert any("recall_tokens helps no reply here." in line for line in lines)
    assert not any("misses recall_tokens" in line for line in lines)


def test_a_page_says_how_much_is_quoted(tmp_path: Path) -> None:
    _, data = page_of(CODES, tmp_path)
    assert data["calls"]["recalled"] == [call.recalled_tokens for call in CODES.simulated[0][1]]


def test_a_cleared_call_says_how_many_results_are(capsys: pytest.CaptureFixture[str]) -> None:
    report = reported(orders(120), setting=Setting(1500, 1.0, clear_results=True))
    call = next(call for call in report.simulated[0][1] if call.reason == "cleared")
    lines = printed(report, capsys, everything=True)
    (row,) = [line for line in lines if re.match(rf" *{call.number:,} +\d", line) and "/" in line]
    assert f"cleared {len(call.cleared)}" in row


def test_errors_name_their_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    step = [ai_calling(("look", {"at": "word " * 90}, "1")), ToolMessage("here", tool_call_id="1")]
    hopeless = CountedTranscript(Transcript("hopeless", [HumanMessage("look"), *step]), COUNTER)
    lines = printed(reported(hopeless, orders(2), setting=Setting(60, 0.6)), capsys)
    assert any(line.startswith("hopeless, call 2: ") for line in lines)


# --- scenes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 299, 300, 301, 599, 9001])
def test_groups_are_all_calls_in_order_and_at_most_so_many(count: int) -> None:
    groups = groups_of([*range(count)])
    assert [call for group in groups for call in group] == [*range(count)]
    assert len(groups) == min(count, MAX_GROUPS)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_neighbours_of_one_kind_are_one_band() -> None:
    bands = [band for band in bands_of(FEW) if band.kind == "held"]
    assert bands
    assert len({(band.first, band.low) for band in bands}) == len(bands)


def test_a_picture_has_at_most_so_many_bands_and_crosses() -> None:
    assert len(bands_of(MANY)) <= MAX_MARKS
    assert sum(len(call.missing) for call in MANY.longest[1]) > MAX_MARKS
    assert len(missed_in(MANY)) == MAX_MARKS


def test_a_cross_stands_where_the_thing_was_said_last() -> None:
    counted, calls = FEW.longest
    call = next(call for call in calls if call.missing)
    (need,) = call.missing
    assert (call.number, counted.cumulative[need.newest_before(call.length)]) in missed_in(FEW)


def test_a_sweep_is_drawn_as_cost_against_what_replies_miss() -> None:
    assert FEW.advice is not None
    by_name = {each.name: each for each in tried_in(FEW.advice)}
    for result in FEW.advice.results:
        if result.cost_share <= 1 and not result.totals.over:
            name = f"max_tokens={result.setting.max_tokens}, trim_to=0.6"
            drawn = by_name[name + ", clear_results=True" * result.setting.clear_results]
            assert (drawn.cost, drawn.height) == (round(100 * result.cost_share, 1), result.totals.misses)


def test_of_several_conversations_the_longest_is_drawn_and_named() -> None:
    report = reported(orders(3, name="short"), orders(9, name="long one"), setting=Setting(300, 0.6))
    assert title_of(report).endswith(" · long one, the longest of 2")
    assert "the longest" not in title_of(FEW)


# --- the page -------------------------------------------------------------------------------------


def test_a_page_of_thousands_of_calls_is_small(tmp_path: Path) -> None:
    text, data = page_of(MANY, tmp_path)
    assert len(text) < 120_000
    assert len(data["calls"]["first"]) == MAX_GROUPS
    assert data["count"] == len(MANY.longest[1])
    assert sum(data["calls"]["missing"]) == sum(len(call.missing) for call in MANY.longest[1])


def test_a_page_asks_for_nothing_and_holds_no_text_of_a_message(tmp_path: Path) -> None:
    text, _ = page_of(FEW, tmp_path)
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(
        r"url\(|@import|<(link|img|iframe|script src)|fetch\(|XMLHttpRequest|WebSocket|src=|href=", text
    )
    assert "default-src 'none'" in text
    assert "W-10" not in text


def test_a_page_names_what_to_take(tmp_path: Path) -> None:
    report = reported(orders(300, asks_back=2), setting=Setting(1500, 0.6), sweep=True)
    assert report.advice is not None
    _, data = page_of(report, tmp_path)
    taken = [each for each in data["sweep"]["tried"] if each[-1]]
    assert [each[0] for each in taken] == [re.findall(r"Take (.*?):", report.advice.sentence)[0]]


def test_a_page_without_a_sweep_has_none(tmp_path: Path) -> None:
    assert page_of(reported(orders(2), setting=None), tmp_path)[1]["sweep"] is None


# --- the PNG --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        reported(CountedTranscript(Transcript("one", [HumanMessage("hi"), AIMessage("ho")]), COUNTER), setting=None),
        reported(orders(9, name="$x_1$ 가나다 \U0001f600"), orders(2), setting=Setting(300, 0.6)),
        MANY,
    ],
    ids=["one call", "a strange name", "thousands"],
)
def test_a_png_is_drawn_without_a_warning(report: Report, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture.write(report, tmp_path / "out.png")
    data = (tmp_path / "out.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 250_000


def test_the_only_call_of_a_png_has_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: drawn.append(figure))
    talk = CountedTranscript(Transcript("it", [HumanMessage("hi"), AIMessage("ok")]), COUNTER)
    picture.write(reported(talk, setting=Setting(60, 0.6)), tmp_path / "out.png")
    lower = drawn[0].axes[1]
    low, high = lower.get_xlim()
    assert [tick for tick in lower.get_xticks() if low <= tick <= high] == [1]
