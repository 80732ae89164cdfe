"""The command: what it prints, draws and writes, and how it ends."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import messages_to_dict
from pydantic import SecretStr

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer._replay.files import read
from langchain_tokenbuffer._replay.model_names import context_of, counter_of
from langchain_tokenbuffer.counters import message_counter
from langchain_tokenbuffer.replay import main
from tests.builders import ROOT, run_script

SAMPLE = ROOT / "examples" / "transcript.json"
Captured = pytest.CaptureFixture[str]
TALK: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
for number in range(40):
    TALK.append({"role": "user", "content": f"Question {number}: " + "why " * 40})
    TALK.append({"role": "assistant", "content": f"Answer {number}: " + "so " * 40})


@pytest.fixture
def talk_file(tmp_path: Path) -> str:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(TALK))
    return str(path)


@pytest.fixture
def hopeless(tmp_path: Path) -> str:
    function = {"name": "look", "arguments": json.dumps({"at": "word " * 900})}
    calls = [{"id": "1", "type": "function", "function": function}]
    messages = [
        *TALK,
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": "Here."},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks."},
    ]
    path = tmp_path / "hopeless.json"
    path.write_text(json.dumps(messages))
    return str(path)


def replay(*arguments: str) -> int:
    return main(["replay", *arguments])


def asked_for_json(capsys: Captured, *arguments: str) -> dict[str, Any]:
    replay(*arguments, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# --- the table ------------------------------------------------------------------------------------


def test_a_budget_is_shown_call_by_call(talk_file: str, capsys: Captured) -> None:
    assert replay(talk_file, "--max-tokens", "1000") == 0
    printed = capsys.readouterr().out
    assert "1 conversation, 81 messages, 40 model calls" in printed
    assert "gpt-4o: o200k_base, in OpenAI's chat format (exact)" in printed
    assert "max_tokens=1000, trim_to=0.6" in printed
    assert "In all 40 calls" in printed
    assert "Take " not in printed
    assert "Do not trim" not in printed


def test_a_row_says_what_left_and_why(talk_file: str, capsys: Captured) -> None:
    (conversation,) = asked_for_json(capsys, talk_file, "--max-tokens", "1000")["conversations"]
    row = conversation["calls"][10]
    replay(talk_file, "--max-tokens", "1000")
    (line,) = re.findall(r"^ +11 .*$", capsys.readouterr().out, re.MULTILINE)
    assert line.split()[:5] == [
        "11",
        f"{row['messages'] - row['dropped']}/{row['messages']}",
        f"{row['tokens']:,}",
        f"{row['history_tokens']:,}",
        "moved",
    ]
    assert f" {len(row['left'])} (" in line


def test_calls_that_are_not_shown_are_counted(talk_file: str, capsys: Captured) -> None:
    replay(talk_file, "--max-tokens", "1000")
    assert " of 40 calls; --all shows all." in capsys.readouterr().out


def test_all_shows_every_call(talk_file: str, capsys: Captured) -> None:
    replay(talk_file, "--max-tokens", "1000", "--all")
    rows = re.findall(r"^ +(\d+) +\d+/\d+ ", capsys.readouterr().out, re.MULTILINE)
    assert [int(row) for row in rows] == [*range(1, 41)]


def test_without_a_budget_many_are_tried_and_one_is_recommended(capsys: Captured) -> None:
    assert replay(str(SAMPLE)) == 0
    printed = capsys.readouterr().out
    assert "Of 186 replies that use something said before, how many miss it" in printed
    (budget, trim_to) = re.findall(r"Take max_tokens=(\d+), trim_to=([\d.]+):", printed)[0]
    assert f"max_tokens={budget}, trim_to={trim_to}\n" in printed.replace(" \n", "\n").replace("  ", "")


def test_a_sweep_stands_beside_a_budget_if_asked_for(capsys: Captured) -> None:
    replay(str(SAMPLE), "--max-tokens", "5000", "--sweep")
    printed = capsys.readouterr().out
    assert "Take max_tokens=" in printed
    assert "max_tokens=5000, trim_to=0.6" in printed


def test_where_trimming_is_not_worth_it_nothing_is_trimmed(talk_file: str, capsys: Captured) -> None:
    assert replay(talk_file) == 0
    printed = capsys.readouterr().out
    assert "Do not trim: the longest request takes 3," in printed
    assert "Never trimming" in printed
    assert "100 % of never trimming" in printed


def test_a_chat_that_is_short_is_not_swept(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "short.json"
    path.write_text(json.dumps(TALK[:5]))
    assert replay(str(path)) == 0
    printed = capsys.readouterr().out
    assert "Do not trim: the longest request takes" in printed
    assert "max_tokens" not in printed


def test_the_sweep_marks_what_does_not_fit(hopeless: str, capsys: Captured) -> None:
    replay(hopeless, "--cache-floor", "0")
    assert re.search(r"\n +[\d,]+( +-)+ *\n", capsys.readouterr().out)


def test_the_sweep_marks_what_shortens(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps([*TALK, {"role": "user", "content": "why " * 4000}]))
    replay(str(path))
    assert re.search(r" \d+ +\d+\*", capsys.readouterr().out)


def test_several_conversations_are_listed(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "many.jsonl"
    records = [{"id": f"[b]talk {n}", "messages": TALK[n:]} for n in range(1, 20)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    replay(str(path), "--max-tokens", "1000")
    printed = capsys.readouterr().out
    assert "19 conversations" in printed
    assert "[b]talk 1" in printed
    assert "8 of 19 conversations; --all shows all." in printed
    replay(str(path), "--max-tokens", "1000", "--all")
    printed = capsys.readouterr().out
    assert all(f"[b]talk {n} " in printed for n in range(1, 20))


def test_a_long_name_shows_its_end(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "many.jsonl"
    records = [{"id": f"{'x' * 99}-{n}", "messages": TALK[n:]} for n in (1, 3)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    replay(str(path), "--max-tokens", "1000")
    assert re.findall(r"…x+-(\d) ", capsys.readouterr().out) == ["1", "3"]


def test_names_are_no_markup(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "[red]:smile:.json"
    path.write_text(json.dumps(TALK))
    replay(str(path), "--max-tokens", "1000")
    assert "[red]:smile:.json: 1 conversation" in capsys.readouterr().out


def test_one_of_several_is_chosen_by_name_or_number(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "many.jsonl"
    records = [{"id": "ann", "messages": TALK}, {"id": "bob", "messages": TALK[3:]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    for wanted in ("bob", "2"):
        found = asked_for_json(capsys, str(path), "--conversation", wanted, "--max-tokens", "999")
        assert [each["name"] for each in found["conversations"]] == ["bob"]


# --- how it ends ----------------------------------------------------------------------------------


def test_a_budget_that_cannot_be_kept_ends_with_1_and_names_the_call(hopeless: str, capsys: Captured) -> None:
    assert replay(hopeless, "--max-tokens", "500") == 1
    printed = capsys.readouterr().out
    assert re.search(r"Call 42: What must stay needs \d+ tokens even when clamped", printed)
    assert "1 call could not be kept within the budget" in printed
    assert "In all 43 calls" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-tokens", "0"],
        ["--max-tokens", "many"],
        ["--trim-to", "0"],
        ["--trim-to", "1.5"],
        ["--spend", "nan"],
        ["--price-input", "-1"],
        ["--cache-floor", "1.5"],
        ["--recall-tokens", "-1"],
        ["--plot", "out.pdf"],
        ["--prices", "none"],
    ],
)
def test_wrong_arguments_end_with_2_and_say_what_is_accepted(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        replay("talk.json", *arguments)
    assert caught.value.code == 2
    assert re.search(r"must be an? |must end in|choose from", capsys.readouterr().err)


def error_line(capsys: Captured, *arguments: str) -> str:
    """The one line on stderr of a command that ends with 2."""
    assert replay(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_recall_that_leaves_nothing_of_the_budget_is_refused(talk_file: str, capsys: Captured) -> None:
    line = error_line(capsys, talk_file, "--max-tokens", "500", "--recall-tokens", "500")
    assert "recall_tokens=500 leaves nothing of max_tokens=500" in line


@pytest.mark.parametrize("budget", [[], ["--max-tokens", "5000"]])
def test_recall_is_refused_for_a_conversation_with_tools(budget: list[str], capsys: Captured) -> None:
    line = error_line(capsys, str(SAMPLE), *budget, "--recall-tokens", "300")
    assert "--recall-tokens is for chats, and 'conversation' has tools" in line


def test_no_recall_may_be_asked_for_with_tools(capsys: Captured) -> None:
    assert replay(str(SAMPLE), "--max-tokens", "5000", "--recall-tokens", "0") == 0
    assert "recall" not in capsys.readouterr().out


def test_a_budget_with_recall_shows_what_is_quoted(talk_file: str, capsys: Captured) -> None:
    arguments = talk_file, "--max-tokens", "1000", "--recall-tokens", "200"
    calls = asked_for_json(capsys, *arguments)["conversations"][0]["calls"]
    assert 0 < max(call["recalled_tokens"] for call in calls) <= 200
    assert replay(*arguments) == 0
    printed = capsys.readouterr().out
    assert "max_tokens=1000, trim_to=0.6, recall_tokens=200" in printed
    assert re.search(r"call +sees .* recalled ", printed)


def test_a_budget_that_recall_leaves_too_small_says_so(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([{"role": "system", "content": "word " * 150}, *TALK[1:3]]))
    (conversation,) = asked_for_json(capsys, str(path), "--max-tokens", "300", "--recall-tokens", "200")[
        "conversations"
    ]
    assert conversation["calls"][0]["error"].endswith(" Of max_tokens=300, recall_tokens=200 are kept free.")


def test_a_file_that_is_not_there_is_an_error(capsys: Captured) -> None:
    assert "nowhere.json" in error_line(capsys, "nowhere.json")


def test_a_file_that_is_no_transcript_is_an_error_with_what_is_expected(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary")
    line = error_line(capsys, str(path))
    assert "notes.txt: found no JSON" in line
    assert "expected a list of messages" in line


def test_a_conversation_that_calls_no_model_is_an_error(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "greeting.json"
    path.write_text('[{"role": "assistant", "content": "Hello!"}]')
    assert "found messages that call no model" in error_line(capsys, str(path))


def test_an_unknown_conversation_is_an_error_that_lists_those_there_are(talk_file: str, capsys: Captured) -> None:
    line = error_line(capsys, talk_file, "--conversation", "bob")
    assert "no conversation 'bob'; the 1 are conversation" in line


def test_a_tokenizer_that_is_not_there_is_an_error(talk_file: str, capsys: Captured) -> None:
    assert "no file that can be read" in error_line(capsys, talk_file, "--model", "nowhere.json")


def test_a_folder_that_is_not_there_is_missed_before_anything_is_read(talk_file: str, capsys: Captured) -> None:
    where = Path(talk_file).parent / "nowhere" / "out.html"
    line = error_line(capsys, talk_file, "--plot", str(where))
    assert line == f"langchain-tokenbuffer: the picture {str(where)!r} cannot be written: No such file or directory"


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_picture_that_cannot_be_written_is_not_blamed_on_the_transcript(
    talk_file: str, capsys: Captured, suffix: str
) -> None:
    where = Path(talk_file).parent / f"out{suffix}"
    where.mkdir()
    assert replay(talk_file, "--max-tokens", "999", "--plot", str(where)) == 2
    captured = capsys.readouterr()
    assert captured.err == f"langchain-tokenbuffer: the picture {str(where)!r} cannot be written: Is a directory\n"
    assert "In all 40 calls" in captured.out


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_picture_that_was_written_is_told(talk_file: str, capsys: Captured, suffix: str) -> None:
    where = Path(talk_file).with_suffix(suffix)
    assert replay(talk_file, "--max-tokens", "999", "--json", "--plot", str(where)) == 0
    assert capsys.readouterr().err == f"langchain-tokenbuffer: wrote {where}\n"


@pytest.mark.parametrize("arguments", [["--all"], ["--json"], ["--all", "--plot", "out.html"]])
def test_where_nobody_reads_on_the_command_ends_quietly(talk_file: str, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "langchain_tokenbuffer", "replay", talk_file, "--max-tokens", "200", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(talk_file).parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()  # before anything is printed
        said = done.stderr.read()
    assert done.returncode == 0
    assert said == ("langchain-tokenbuffer: wrote out.html\n" if "--plot" in arguments else "")


def test_the_version_is_the_packages(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["langchain_tokenbuffer", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("langchain_tokenbuffer", run_name="__main__")
    assert caught.value.code == 0
    assert re.fullmatch(r"langchain-tokenbuffer \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_help_says_what_is_read_and_which_exit_codes_there_are(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        replay("--help")
    printed = " ".join(capsys.readouterr().out.split())
    assert "a LangSmith run export" in printed
    assert "Exit codes: 0 fine; 1 some call could not be kept" in printed


# --- what else it says ----------------------------------------------------------------------------


def with_model(path: Path, *models: str | None) -> str:
    records = [{"id": f"{n}", "messages": [*TALK, TALK[1 + n]]} for n in range(len(models))]
    requests = [record | ({"model": model} if model else {}) for record, model in zip(records, models, strict=True)]
    path.write_text("".join(json.dumps(each) + "\n" for each in requests))
    return str(path)


@pytest.mark.parametrize(
    ("model", "arguments", "counted"),
    [
        (None, [], "gpt-4o: o200k_base, in OpenAI's chat format (exact); the default, since the file names no model."),
        ("gpt-4", [], "gpt-4: cl100k_base, in OpenAI's chat format (exact); as the file says."),
        ("gpt-4", ["--model", "gpt-4o"], "gpt-4o: o200k_base, in OpenAI's chat format (exact); as --model says."),
    ],
)
def test_the_model_and_who_named_it_are_told(
    tmp_path: Path, capsys: Captured, model: str | None, arguments: list[str], counted: str
) -> None:
    replay(with_model(tmp_path / "talk.jsonl", model), "--max-tokens", "1000", *arguments)
    assert f"\nCounted as {counted}\n" in capsys.readouterr().out


def test_several_models_are_told_by_their_conversations(tmp_path: Path, capsys: Captured) -> None:
    names = ["gpt-4", "gpt-4o", "gpt-4o", "grok-4", "gpt-5", "o3", "qwen3"]
    replay(with_model(tmp_path / "talk.jsonl", *names), "--max-tokens", "1000")
    printed = capsys.readouterr().out
    assert "Counted as 6 models, each its own conversations:\n  2 as gpt-4o: o200k_base, in" in printed
    assert "\n  2 as 2 others." in printed


def test_the_json_says_which_model_counted_each_conversation(tmp_path: Path, capsys: Captured) -> None:
    found = asked_for_json(capsys, with_model(tmp_path / "talk.jsonl", "gpt-4", None), "--max-tokens", "1000")
    assert found["model"] == "gpt-4, gpt-4o"
    models = [(each["model"], each["model_from"]) for each in found["conversations"]]
    assert models == [("gpt-4", "file"), ("gpt-4o", "default")]


def test_claude_in_a_file_costs_as_claude_does(tmp_path: Path, capsys: Captured) -> None:
    path = with_model(tmp_path / "talk.jsonl", "claude-sonnet-4-5")
    assert asked_for_json(capsys, path, "--max-tokens", "1000")["prices"]["write"] == 1.25


def test_the_smallest_context_of_several_models_is_the_one(tmp_path: Path, capsys: Captured) -> None:
    known = [context for model in ("gpt-4", "gpt-4o") if (context := context_of(model))]
    found = asked_for_json(capsys, with_model(tmp_path / "talk.jsonl", "gpt-4o", "gpt-4"), "--max-tokens", "1000")
    assert found["context"] == min(known, default=None)


DISORDER = [
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Look."},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": id_, "type": "function", "function": {"name": "look", "arguments": "{}"}} for id_ in ("1", "2")
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "Here."},
    {"role": "tool", "tool_call_id": "8", "content": "There."},
    {"role": "tool", "tool_call_id": "9", "content": "There."},
    {"role": "user", "content": "And?"},
]


def test_what_is_out_of_order_is_replayed_mended_and_told(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(DISORDER))
    assert replay(str(path), "--max-tokens", "1000") == 0
    assert (
        "Out of order, and replayed mended: a message before the first human one left out, 2 results without a call "
        "left out, a stand-in for a missing result.\n"
    ) in capsys.readouterr().out
    (conversation,) = asked_for_json(capsys, str(path), "--max-tokens", "1000")["conversations"]
    assert conversation["mended"] == {"first_not_human": 1, "orphan_result": 2, "missing_result": 1}


def test_what_is_mended_is_what_a_buffer_mends(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(DISORDER))
    (transcript,) = read(str(path))
    window = TokenBuffer(1000, token_counter=counter_of("gpt-4o")).window(transcript.messages)
    assert {*window.mended} == {each for each in transcript.mended if each.code != "first_not_human"}


def test_in_how_many_conversations_something_is_out_of_order_is_told(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in (TALK, DISORDER, DISORDER[1:])))
    replay(str(path), "--max-tokens", "1000")
    assert "Out of order in 2 of 3 conversations, and replayed mended: " in capsys.readouterr().out


def test_notes_are_in_the_json(tmp_path: Path, talk_file: str, capsys: Captured) -> None:
    (tmp_path / "notes.txt").touch()
    found = asked_for_json(capsys, str(tmp_path), "--max-tokens", "1000")
    assert found["notes"] == ["Passed over 1 of 2 files: notes.txt (a name that ends in .txt)."]


class Terminal(io.StringIO):
    """What somebody watches."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("after", "shows"), [(-1.0, True), (1e9, False)])
def test_a_bar_is_shown_where_somebody_watches_and_it_takes_long(
    talk_file: str, monkeypatch: pytest.MonkeyPatch, after: float, *, shows: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("langchain_tokenbuffer._replay.progress.AFTER", after)
    assert replay(talk_file, "--json") == 0
    assert ("Replaying" in terminal.getvalue()) == shows


def test_nobody_watches_a_pipe(talk_file: str, capsys: Captured) -> None:
    assert replay(talk_file, "--json") == 0
    assert capsys.readouterr().err == ""


def test_a_bar_needs_no_extra(talk_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    assert replay(talk_file, "--json") == 0
    assert terminal.getvalue() == ""


# --- JSON -----------------------------------------------------------------------------------------

KEYS = {
    "": {
        "format",
        "file",
        "model",
        "counted",
        "notes",
        "context",
        "prices",
        "setting",
        "conversations",
        "totals",
        "never_trimming",
        "advice",
        "sweep",
    },
    "conversation": {"name", "model", "model_from", "mended", "messages", "tools", "fixed_tokens", "calls", "totals"},
    "call": {
        "number",
        "messages",
        "tokens",
        "history_tokens",
        "reason",
        "cut",
        "held",
        "dropped",
        "left",
        "clamped",
        "cleared",
        "recalled_tokens",
        "facts",
        "facts_held",
        "missing",
        "reusable_tokens",
        "cached_tokens",
        "cost",
        "error",
    },
    "totals": {
        "calls",
        "tokens",
        "largest_call",
        "cached_tokens",
        "share_seen",
        "cost",
        "moved",
        "clamped",
        "over",
        "facts",
        "facts_held",
        "replies",
        "replies_whole",
    },
    "point": {
        "max_tokens",
        "trim_to",
        "clear_results",
        "recall_tokens",
        "facts",
        "facts_held",
        "replies",
        "replies_whole",
        "share_seen",
        "cost",
        "cost_share",
        "moved",
        "clamped",
        "over",
        "on_frontier",
    },
}


def test_the_keys_of_the_json_are_these(capsys: Captured) -> None:
    found = asked_for_json(capsys, str(SAMPLE))
    (conversation,) = found["conversations"]
    assert found.keys() == KEYS[""]
    assert conversation.keys() == KEYS["conversation"]
    assert conversation["calls"][0].keys() == KEYS["call"]
    assert conversation["totals"].keys() == KEYS["totals"]
    assert found["never_trimming"].keys() == KEYS["totals"]
    assert found["sweep"][0].keys() == KEYS["point"]
    assert found["advice"].keys() == {"setting", "sentence"}
    assert found["setting"].keys() == {"max_tokens", "trim_to", "clear_results", "recall_tokens"}
    assert found["prices"].keys() == {"input", "cached", "write", "floor", "in_money"}


@pytest.mark.parametrize("key", sorted(set().union(*KEYS.values())))
def test_every_key_of_the_json_is_described(key: str) -> None:
    assert f"`{key}`" in str(sys.modules[main.__module__].__doc__)


def test_the_json_without_a_sweep_has_no_advice(talk_file: str, capsys: Captured) -> None:
    found = asked_for_json(capsys, talk_file, "--max-tokens", "1000")
    assert (found["advice"], found["sweep"]) == (None, None)


def test_the_json_of_not_trimming_has_no_setting(talk_file: str, capsys: Captured) -> None:
    found = asked_for_json(capsys, talk_file)
    assert (found["setting"], found["advice"]["setting"]) == (None, None)
    assert {each["reason"] for each in found["conversations"][0]["calls"]} == {"fits"}


def test_the_windows_in_the_json_are_the_ones_of_a_buffer(talk_file: str, capsys: Captured) -> None:
    found = asked_for_json(capsys, talk_file, "--max-tokens", "700", "--trim-to", "0.5")
    buffer = TokenBuffer(700, token_counter=counter_of("gpt-4o"), trim_to=0.5)
    (transcript,) = read(talk_file)
    for call in found["conversations"][0]["calls"]:
        window = buffer.window(transcript.messages[: call["messages"]])
        assert list(window.kept) == [*call["held"], *range(call["cut"], call["messages"])]
        assert (window.tokens, len(window.dropped)) == (call["tokens"], call["dropped"])


def test_tools_of_the_file_count_into_the_fixed_part(capsys: Captured) -> None:
    record = json.loads(SAMPLE.read_text())
    (transcript,) = read(str(SAMPLE))
    found = asked_for_json(capsys, str(SAMPLE), "--max-tokens", "5000")
    (conversation,) = found["conversations"]
    whole = counter_of("gpt-4o").count(transcript.messages[:2], tools=record["tools"])
    assert conversation["tools"] == 3
    assert conversation["calls"][0]["tokens"] == whole


@pytest.mark.parametrize(
    ("arguments", "prices"),
    [
        ([], {"input": 1, "cached": 0.1, "write": 1, "floor": 1024, "in_money": False}),
        (
            ["--prices", "anthropic"],
            {"input": 1, "cached": 0.1, "write": 1.25, "floor": 1024, "in_money": False},
        ),
        (
            ["--model", "claude-sonnet-4-5"],
            {"input": 1, "cached": 0.1, "write": 1.25, "floor": 1024, "in_money": False},
        ),
        (
            ["--price-input", "2.5", "--price-cached", "1.25", "--cache-floor", "0"],
            {"input": 2.5, "cached": 1.25, "write": 2.5, "floor": 0, "in_money": True},
        ),
        (
            ["--prices", "anthropic", "--price-input", "3", "--price-write", "6"],
            {"input": 3, "cached": pytest.approx(0.3), "write": 6, "floor": 1024, "in_money": True},
        ),
    ],
)
def test_prices_are_a_preset_or_given(
    talk_file: str, capsys: Captured, arguments: list[str], prices: dict[str, Any]
) -> None:
    found = asked_for_json(capsys, talk_file, "--max-tokens", "1000", *arguments)
    assert found["prices"] == prices


def test_prices_in_money_are_per_million_tokens(talk_file: str, capsys: Captured) -> None:
    costs = [
        asked_for_json(capsys, talk_file, "--max-tokens", "1000", *prices)["totals"]["cost"]
        for prices in ([], ["--price-input", "2"])
    ]
    assert costs[1] == pytest.approx(costs[0] * 2 / 1e6)


# --- pictures -------------------------------------------------------------------------------------


def test_a_png_is_drawn(tmp_path: Path, hopeless: str) -> None:
    path = tmp_path / "out.png"
    replay(hopeless, "--max-tokens", "500", "--json", "--plot", str(path))
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert 10_000 < len(data) < 120_000


def test_not_trimming_is_drawn_too(tmp_path: Path, talk_file: str) -> None:
    path = tmp_path / "out.png"
    replay(talk_file, "--json", "--plot", str(path))
    assert path.read_bytes().startswith(b"\x89PNG")


def page(tmp_path: Path, *arguments: str) -> str:
    path = tmp_path / "out.html"
    replay(*arguments, "--json", "--plot", str(path))
    return path.read_text(encoding="utf-8")


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    text = page(tmp_path, str(SAMPLE))
    outside = set(re.findall(r"https?://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
    assert not outside
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|script src)", text)
    assert len(text) < 60_000


def test_a_page_holds_the_calls_and_no_text_of_a_message(tmp_path: Path, capsys: Captured) -> None:
    text = page(tmp_path, str(SAMPLE))
    calls = json.loads(capsys.readouterr().out)["conversations"][0]["calls"]
    (embedded,) = re.findall(r'<script id="data" [^>]*>(.*?)</script>', text, re.DOTALL)
    data = json.loads(embedded)
    assert [call["tokens"] for call in calls] == data["calls"]["tokens"]
    assert [call["reason"] for call in calls] == data["calls"]["reason"]
    assert [len(call["left"]) for call in calls] == data["calls"]["left"]
    assert "tandem" not in text


def test_the_window_in_a_page_lies_where_its_messages_lie(tmp_path: Path, talk_file: str) -> None:
    text = page(tmp_path, talk_file, "--max-tokens", "700")
    data = json.loads(re.findall(r'<script id="data" [^>]*>(.*?)</script>', text, re.DOTALL)[0])
    (transcript,) = read(talk_file)
    counter = TokenCounter("o200k_base")
    cut, top = data["calls"]["from"][-1] - 1, data["calls"]["messages"][-1]
    assert data["calls"]["cut"][-1] == counter(transcript.messages[:cut]) - message_counter(counter).constant
    assert data["calls"]["top"][-1] == counter(transcript.messages[:top]) - message_counter(counter).constant
    assert data["bands"] == [["head", 1, 40, 0, counter(transcript.messages[:1]) - 3]]


def test_a_page_shows_what_is_held_and_what_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    steps = []
    for number in range(12):
        function = {"name": "look", "arguments": "{}"}
        calls = [{"id": "1", "type": "function", "function": function}]
        steps.append({"role": "assistant", "content": None, "tool_calls": calls})
        size = 900 if number == 8 else 60
        steps.append({"role": "tool", "tool_call_id": "1", "content": "word " * size})
    path.write_text(json.dumps([{"role": "user", "content": "Look."}, *steps]))
    text = page(tmp_path, str(path), "--max-tokens", "500")
    data = json.loads(re.findall(r'<script id="data" [^>]*>(.*?)</script>', text, re.DOTALL)[0])
    assert {kind for kind, *_ in data["bands"]} == {"held", "clamped"}


def test_a_name_cannot_close_the_script_of_a_page(tmp_path: Path, talk_file: str) -> None:
    text = page(tmp_path, talk_file, "--max-tokens", "999", "--model", "</script><script>alert(1)")
    assert "<script>alert" not in text


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "counted"),
    [
        ("gpt-4o", "gpt-4o: o200k_base, in OpenAI's chat format (exact)"),
        ("gpt-4", "gpt-4: cl100k_base, in OpenAI's chat format (exact)"),
        ("o200k_base", "o200k_base, in OpenAI's chat format"),
        ("grok-4", "grok-4: estimated as o200k_base, corrected by kind of text"),
        ("my-model", "my-model: estimated as cl100k_base, corrected by kind of text"),
    ],
)
def test_the_command_says_what_counts_and_how_exactly(model: str, counted: str) -> None:
    assert counter_of(model).describe().startswith(counted)


def test_a_model_known_by_name_counts_as_the_model_itself() -> None:
    from langchain_anthropic import ChatAnthropic  # noqa: PLC0415  # slow to import
    from langchain_openai import ChatOpenAI  # noqa: PLC0415

    (transcript,) = read(str(SAMPLE))
    for model in (
        ChatOpenAI(model="gpt-4o", api_key=SecretStr("unused")),
        ChatOpenAI(model="gpt-5-mini", api_key=SecretStr("unused")),
        ChatAnthropic(model="claude-sonnet-4-5", api_key=SecretStr("unused")),  # type: ignore[call-arg]
    ):
        name = getattr(model, "model_name", None) or getattr(model, "model", None)
        found = TokenCounter(model).count(transcript.messages, tools=transcript.tools)
        assert found == counter_of(str(name)).count(transcript.messages, tools=transcript.tools)


def test_a_models_context_is_known_where_its_package_knows_it() -> None:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415  # slow to import

    if not getattr(ChatOpenAI(model="gpt-4o", api_key=SecretStr("unused")), "profile", None):
        pytest.skip("this langchain-openai knows no model's context")
    assert (context_of("gpt-4o") or 0) >= 100_000
    assert (context_of("claude-sonnet-4-5") or 0) >= 100_000
    assert context_of("my-model") is None


def test_a_models_context_is_unknown_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_anthropic", None)
    assert context_of("claude-sonnet-4-5") is None


def test_a_models_context_can_be_given(talk_file: str, capsys: Captured) -> None:
    found = asked_for_json(capsys, talk_file, "--context", "2000", "--model", "my-model")
    assert found["context"] == 2000
    assert max(each["max_tokens"] for each in found["sweep"]) <= 1900


# --- what it needs --------------------------------------------------------------------------------


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] in packages or name.endswith(("_replay.table", "_replay.picture")):
            monkeypatch.delitem(sys.modules, name)
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(("package", "arguments"), [("rich", []), ("matplotlib", ["--plot=a.png"])])
def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, package: str, arguments: list[str]
) -> None:
    without(monkeypatch, package)
    line = error_line(capsys, "talk.json", *arguments)
    assert 'pip install "langchain-tokenbuffer[replay]"' in line


def test_json_and_a_page_need_no_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, talk_file: str, capsys: Captured
) -> None:
    without(monkeypatch, "rich", "matplotlib")
    path = tmp_path / "out.html"
    assert replay(talk_file, "--json", "--plot", str(path)) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    assert path.is_file()


def test_the_module_imports_neither_tables_nor_pictures() -> None:
    code = (
        "import sys, langchain_tokenbuffer.replay;"  # not rich: where click is there, too, httpx imports it
        "drawing = {f'langchain_tokenbuffer._replay.{name}' for name in ('table', 'picture')};"
        "print({*drawing, 'matplotlib', 'langgraph', 'langchain_openai'} & {*sys.modules})"
    )
    assert run_script(code) == "set()\n"


def test_the_script_is_the_command() -> None:
    (script,) = entry_points(group="console_scripts", name="langchain-tokenbuffer")
    assert script.load() is main


def test_the_package_runs_as_a_command_and_reads_its_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "langchain_tokenbuffer", "replay", "-", "--max-tokens", "1000"],
        input=json.dumps(TALK),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 model calls" in done.stdout


# --- what the page shows --------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
SESSION = re.compile(r"```console\n\$ python -m langchain_tokenbuffer ([^\n]+)\n(.*?)```", re.DOTALL)


def stripped(printed: str) -> list[str]:
    lines = (line.rstrip() for line in printed.splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize(("arguments", "printed"), SESSION.findall(PAGE))
def test_a_command_of_the_page_prints_what_the_page_shows(
    arguments: str, printed: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(arguments.split()) == 0
    assert stripped(printed) == stripped(capsys.readouterr().out)


# --- the sample -----------------------------------------------------------------------------------


def test_the_sample_is_what_its_script_invents(capsys: Captured) -> None:
    runpy.run_path(str(ROOT / "examples" / "transcript.py"), run_name="__main__")
    assert SAMPLE.read_text(encoding="utf-8") == capsys.readouterr().out


def test_the_sample_reads_the_same_in_langchains_dump(tmp_path: Path) -> None:
    (transcript,) = read(str(SAMPLE))
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(messages_to_dict(transcript.messages)))
    assert transcript.messages == read(str(path))[0].messages


@pytest.mark.parametrize("is_collecting", [True, False])
@pytest.mark.parametrize("name", ["talk.json", "nothing.json"])
def test_behind_the_command_garbage_is_collected_as_before(talk_file: str, name: str, *, is_collecting: bool) -> None:
    (gc.enable if is_collecting else gc.disable)()
    try:
        replay(str(Path(talk_file).with_name(name)), "--max-tokens", "500")
        found = gc.isenabled()
    finally:
        gc.enable()
    assert found == is_collecting
