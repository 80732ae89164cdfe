"""Transcripts are read in the shapes people have them, and what is none says so."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
    convert_to_openai_messages,
    messages_to_dict,
)
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.tracers.langchain import LangChainTracer
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_tokenbuffer import TokenBufferError, TokenCounter, validate
from langchain_tokenbuffer._messages.kinds import facts_of
from langchain_tokenbuffer._replay.files import read
from langchain_tokenbuffer._replay.sources import read_all
from langchain_tokenbuffer._replay.transcripts import Transcript, UnreadableError, transcripts_of
from tests.agents.scripted import ENCODING, Scripted, look
from tests.builders import ai_calling, comparable
from tests.scale import examples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNTER = TokenCounter(ENCODING)
TALK: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage("Look.", id="h1"),
    ai_calling(("look", {"at": 1}, "call_1")),
    ToolMessage("here", tool_call_id="call_1", name="look"),
    AIMessage("Done."),
]
OPENAI: list[Any] = convert_to_openai_messages(TALK)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def only(value: object) -> Transcript:
    (transcript,) = transcripts_of(json.loads(json.dumps(value)))
    return transcript


def as_json(message: BaseMessage) -> dict[str, Any]:
    """As a chain's run or a graph's API shows a message."""
    return message.model_dump(mode="json", exclude_none=True)


# --- messages -------------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[list[BaseMessage]], object]] = {
    "OpenAI's messages": convert_to_openai_messages,
    "OpenAI's request": lambda talk: {"messages": convert_to_openai_messages(talk)},
    "messages_to_dict": messages_to_dict,
    "dumpd": lambda talk: [dumpd(message) for message in talk],
    "dumpd of a state": lambda talk: dumpd({"messages": talk}),
    "dumpd of a prompt": lambda talk: dumpd(ChatPromptValue(messages=talk)),
    "model_dump": lambda talk: [as_json(message) for message in talk],
    "a state": lambda talk: {"values": {"messages": list(map(as_json, talk))}, "next": []},
    "channel_values": lambda talk: {"channel_values": {"messages": list(map(as_json, talk))}},
    "a checkpoint tuple": lambda talk: {
        "config": {},
        "checkpoint": {"v": 4, "channel_values": {"messages": list(map(dumpd, talk))}},
    },
    "a model's run": lambda talk: {
        "run_type": "llm",
        "inputs": {"messages": [[dumpd(message) for message in talk[:-1]]]},
        "outputs": {"generations": [[{"text": "Done.", "message": dumpd(talk[-1])}]]},
    },
    "a graph's run": lambda talk: {
        "run_type": "chain",
        "inputs": {"messages": [as_json(talk[1])]},
        "outputs": {"messages": list(map(as_json, talk))},
    },
    "a chain's run": lambda talk: {
        "run_type": "chain",
        "inputs": {"input": list(map(as_json, talk[:-1]))},
        "outputs": {"output": as_json(talk[-1])},
    },
    "a run on a state": lambda talk: {
        "run_type": "chain",
        "inputs": {"input": {"messages": list(map(as_json, talk))}},
        "outputs": None,
    },
    "a wrapped client's run": lambda talk: {
        "run_type": "llm",
        "inputs": {"messages": convert_to_openai_messages(talk[:-1]), "model": "gpt-4o"},
        "outputs": {"choices": [{"message": convert_to_openai_messages([talk[-1]])[0]}]},
    },
    "a request and its reply": lambda talk: {
        "request": {"messages": convert_to_openai_messages(talk[:-1])},
        "reply": {"role": "assistant", "content": "Done."},
    },
    "a runs query": lambda talk: {
        "runs": [{"inputs": {"messages": list(map(as_json, talk))}, "outputs": None}],
        "cursors": {"next": None},
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape: str) -> None:
    assert comparable(TALK) == comparable(only(SHAPES[shape](TALK)).messages)


@pytest.mark.parametrize("shape", ["messages_to_dict", "dumpd", "model_dump"])
def test_what_langchain_dumped_is_the_same_message_again(shape: str) -> None:
    talk = [
        *TALK,
        HumanMessage("pin", additional_kwargs={"pinned": True}),
        AIMessage([{"type": "text", "text": "x"}], response_metadata={"model_name": "gpt-4o"}),
        ChatMessage(content="said", role="critic"),
        FunctionMessage(content="1", name="f"),
    ]
    assert talk == only(SHAPES[shape](talk)).messages


def test_openai_dicts_count_as_langchain_converts_them() -> None:
    raw: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Look."}]},
        *OPENAI[2:],
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ]
    assert COUNTER(convert_to_messages(raw)) == COUNTER(only(raw).messages)


def test_a_chunk_is_what_it_is_a_chunk_of() -> None:
    chunk = AIMessageChunk(content="Done.", tool_call_chunks=[])
    for each in (dumpd(chunk), as_json(chunk), messages_to_dict([chunk])[0]):
        assert [message.type for message in only([each]).messages] == ["ai"]


def test_langchains_own_calls_are_read_in_a_dict_with_a_role() -> None:
    calls = [{"name": "look", "args": {"at": 1}, "id": "call_1"}]
    (message,) = only([{"role": "assistant", "content": "", "tool_calls": calls}]).messages
    assert comparable([message]) == comparable([TALK[2]])


@pytest.mark.parametrize("arguments", ["{not json", "[1]", None, 7])
def test_a_call_with_broken_arguments_is_an_invalid_call(arguments: object) -> None:
    function = {"name": "look", "arguments": arguments}
    asked = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": function}]}
    (message,) = only([asked]).messages
    assert isinstance(message, AIMessage)
    assert [(each["name"], each["id"]) for each in message.invalid_tool_calls] == [("look", "1")]


def test_anthropics_results_answer_its_calls() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}
    results = [{"type": "tool_result", "tool_use_id": "t1", "content": "here"}, {"type": "text", "text": "Well?"}]
    request = {
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": results},
        ],
    }
    messages = only({"request": request}).messages
    facts = list(map(facts_of, messages))
    assert [each.kind for each in facts] == ["system", "human", "ai", "human"]
    assert facts[2].calls == facts[3].results == ("t1",)
    assert validate(messages) == []


def test_no_class_is_loaded_that_is_no_message() -> None:
    evil = {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"content": "ls"}}
    with pytest.raises(UnreadableError):
        transcripts_of([evil])


# --- conversations --------------------------------------------------------------------------------


def test_tools_come_with_their_request() -> None:
    assert (TOOLS[0],) == only({"messages": OPENAI, "tools": TOOLS}).tools


def test_tools_of_a_run_are_those_its_model_was_called_with() -> None:
    run: Any = SHAPES["a model's run"](TALK)
    run["extra"] = {"invocation_params": {"tools": TOOLS}}
    assert (TOOLS[0],) == only(run).tools


def test_the_model_calls_inside_a_run_are_found() -> None:
    inner: Any = SHAPES["a model's run"](TALK)
    step = {"run_type": "chain", "inputs": {"x": 1}, "outputs": {}, "child_runs": [inner]}
    root = {"run_type": "chain", "inputs": {"messages": [as_json(TALK[1])]}, "child_runs": [step]}
    assert comparable(only(root).messages) == comparable(TALK)


def test_a_conversation_has_the_name_its_record_has() -> None:
    assert only({"id": "tau-1", "messages": OPENAI}).name == "tau-1"


def test_a_dumped_prompts_class_is_no_name() -> None:
    assert only(dumpd(ChatPromptValue(messages=TALK))).name == "conversation"


def test_several_conversations_are_several() -> None:
    other = [{"role": "user", "content": "Hello."}]
    found = transcripts_of([{"messages": OPENAI}, other, {"values": {"messages": other + OPENAI}}])
    assert [each.name for each in found] == ["conversation 1", "conversation 3"]


def test_a_log_of_growing_requests_is_one_conversation() -> None:
    log = [{"messages": OPENAI[:2]}, {"messages": OPENAI[:4]}, {"messages": OPENAI}]
    assert comparable(only(log).messages) == comparable(TALK)


def test_a_batch_is_several_conversations() -> None:
    batch = {
        "run_type": "llm",
        "inputs": {"messages": [[dumpd(HumanMessage("a"))], [dumpd(HumanMessage("b"))]]},
        "outputs": {"generations": [[{"message": dumpd(AIMessage("1"))}], []]},
    }
    assert [len(each.messages) for each in transcripts_of([batch])] == [2, 1]


class Project:
    """Stands for a LangSmith client: keeps the runs that are sent to it."""

    def __init__(self) -> None:
        self.runs: dict[Any, dict[str, Any]] = {}

    def create_run(self, **run: Any) -> None:
        self.runs[run["id"]] = run

    def update_run(self, run_id: Any, **changes: Any) -> None:
        self.runs[run_id] |= changes

    def export(self) -> list[Any]:
        def plain(value: object) -> object:
            return as_json(value) if isinstance(value, BaseMessage) else str(value)

        exported: list[Any] = json.loads(json.dumps([*self.runs.values()], default=plain))
        return exported


def test_a_real_agents_trace_is_what_its_model_was_sent() -> None:
    project: Any = Project()
    replies = [ai_calling(("look", {"at": 1}, "call_1")), AIMessage("Done.")]
    agent = create_agent(Scripted(replies=replies), [look("here")], system_prompt="Be brief.")
    tracer = LangChainTracer(client=project)
    agent.invoke({"messages": [HumanMessage("Look.")]}, {"callbacks": [tracer]})
    messages = only(project.export()).messages
    assert [message.type for message in messages] == ["system", "human", "ai", "tool", "ai"]


def test_a_real_agents_trace_without_its_model_calls_is_what_its_graph_returned() -> None:
    collector = RunCollectorCallbackHandler()
    agent = create_agent(Scripted(replies=[AIMessage("Done.")]), [])
    agent.invoke({"messages": [HumanMessage("Look.")]}, {"callbacks": [collector]})
    (root,) = collector.traced_runs
    messages = only(json.loads(root.model_dump_json())).messages
    assert [message.type for message in messages] == ["human", "ai"]


# --- files ----------------------------------------------------------------------------------------


def lines(*values: object) -> str:
    return "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(OPENAI),
        json.dumps({"messages": OPENAI}, indent=2),
        lines(*OPENAI),
        f"\n{lines(*OPENAI)}\n",
        lines({"messages": OPENAI}),
        lines({"messages": OPENAI[:3]}, {"messages": OPENAI}),
        lines(*messages_to_dict(TALK)),
    ],
)
def test_json_and_jsonl_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "talk"
    path.write_text(text, encoding="utf-8")
    (transcript,) = read(str(path))
    assert comparable(TALK) == comparable(transcript.messages)


def test_a_line_separator_in_a_text_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    two = [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]
    path.write_text(lines(*two), encoding="utf-8")
    assert [message.content for message in read(str(path))[0].messages] == ["a\u2028b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_windows_wrote_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(OPENAI), encoding=encoding)
    assert len(TALK) == len(read(str(path))[0].messages)


def test_a_dash_is_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(json.dumps(OPENAI).encode()))
    monkeypatch.setattr(sys, "stdin", given)
    assert len(TALK) == len(read("-")[0].messages)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"# Notes\n", "no JSON"),
        (b'{"messages": [', "no JSON"),
        (lines(OPENAI[0]).encode() + b"oops\n", "no JSON in line 2"),
        (b"\x80\x04\x95pickle", "bytes that are no text"),
        (DEEP.encode(), "JSON that is nested too deeply"),
        (b"[]", "an empty list"),
        (b"7", "found 7;"),
        (b'"hello"', "found a text;"),
        (b'{"a": 1, "b": 2}', "an object with the keys a, b"),
        (b'{"messages": []}', "no messages"),
        (b'[{"role": "user", "content": "a"}, 7]', "7 at place 2 of 2"),
        (b'{"messages": [{"role": "user", "content": "a"}, {"x": 1}]}', "keys x where message 2"),
        (b'[{"role": "wizard", "content": "a"}]', "a message 1 that cannot be built"),
        (b'[{"inputs": {"question": "a"}, "outputs": {}}]', "runs that carry no messages"),
        (b'{"inputs": "a", "outputs": "b"}', "runs that carry no messages"),
        (b'{"runs": [7]}', "an object with the keys runs"),
        (b"SQLite format 3\0", "a SQLite file that cannot be read"),
    ],
)
def test_a_file_that_is_no_transcript_is_an_error_with_what_is_expected(
    tmp_path: Path, text: bytes, found: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(text)
    with pytest.raises(UnreadableError, match="expected a list of messages") as caught:
        read(str(path))
    assert found in str(caught.value)


def test_an_error_quotes_no_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('[{"role": "user", "content": {"secret": "hunter2"}}]')
    with pytest.raises(UnreadableError) as caught:
        read(str(path))
    assert "hunter2" not in str(caught.value)


KEYS = (
    "messages role content type data kwargs id lc inputs outputs runs run_type child_runs extra "
    "invocation_params tools tool_calls function name arguments args generations message choices "
    "output values request channel_values checkpoint reply response system input tool_call_id text"
)
WORDS = (
    "user assistant tool system human ai constructor AIMessage llm chain chat text tool_use "
    "tool_result function ToolMessageChunk remove {}"
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS.split()))
JSONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=5),
    ),
    max_leaves=30,
)
ROLES = st.sampled_from(["user", "assistant", "tool", "system", "developer", "function", "ai"])
ALMOST = st.builds(
    lambda role, rest: {"role": role, "content": "a", **rest},
    ROLES,
    st.dictionaries(st.sampled_from(KEYS.split()), JSONS, max_size=3),
)


@settings(max_examples=examples(300))
@given(st.one_of(JSONS, st.lists(ALMOST, max_size=3), st.dictionaries(st.just("messages"), JSONS)))
def test_any_json_is_read_or_refused_and_what_is_read_counts(value: Any) -> None:
    try:
        found = transcripts_of(value)
    except UnreadableError:
        return
    for transcript in found:
        assert COUNTER.count(transcript.messages, tools=transcript.tools) > 0


# --- LangGraph's SQLite file ----------------------------------------------------------------------


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        agent = create_agent(
            Scripted(replies=[AIMessage("One."), AIMessage("Two."), AIMessage("Three.")]),
            [],
            checkpointer=saver,
        )
        for thread, text in [("a", "1"), ("a", "2"), ("b", "3")]:
            thread_config: Any = {"configurable": {"thread_id": thread}}
            agent.invoke({"messages": [HumanMessage(text)]}, thread_config)
    return path


def test_every_thread_of_a_checkpoint_file_is_a_conversation(checkpoints: Path) -> None:
    found = {each.name: [m.content for m in each.messages] for each in read(str(checkpoints))}
    assert found == {"a": ["1", "One.", "2", "Two."], "b": ["3", "Three."]}


def test_reading_a_checkpoint_file_changes_nothing(checkpoints: Path) -> None:
    before = checkpoints.read_bytes()
    read(str(checkpoints))
    assert checkpoints.read_bytes() == before


def test_a_sqlite_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(UnreadableError, match="the tables notes, none of them checkpoints or tokenbuffer_messages"):
        read(str(path))


def test_a_broken_checkpoint_is_an_error(checkpoints: Path) -> None:
    with closing(sqlite3.connect(checkpoints)) as connection, connection:
        connection.execute("UPDATE checkpoints SET checkpoint = x'c1' WHERE thread_id = 'b'")
    with pytest.raises(UnreadableError, match="a checkpoint of thread 'b' that LangGraph cannot"):
        read(str(checkpoints))


def test_a_checkpoint_makes_nothing_but_what_is_safe(checkpoints: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # What an unrestricted loader would call: print("pwned"), as LangGraph stores a constructor.
    call_print = ormsgpack.Ext(0, ormsgpack.packb(("builtins", "print", "pwned")))
    blob = ormsgpack.packb({"channel_values": {"messages": [], "x": call_print}})
    with closing(sqlite3.connect(checkpoints)) as connection, connection:
        connection.execute("UPDATE checkpoints SET checkpoint = ? WHERE thread_id = 'b'", [blob])
    assert [each.name for each in read(str(checkpoints))] == ["a"]
    assert "pwned\n" not in capfd.readouterr().out


def test_an_old_langgraph_is_not_used(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langgraph.checkpoint.serde.jsonplus.JsonPlusSerializer", object)
    with pytest.raises(TokenBufferError, match="needs a current LangGraph"):
        read(str(checkpoints))


def test_a_checkpoint_file_without_langgraph_says_what_to_install(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.serde.jsonplus", None)
    with pytest.raises(TokenBufferError, match=r'"langchain-tokenbuffer\[agents\]"'):
        read(str(checkpoints))


# --- real ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "conversations"),
    [
        ("tau_airline_en", 30),
        ("swe_agent_en", 6),
        ("functionchat_ko", 23),
        ("memorybank_en", 15),
        ("memorybank_zh", 5),
    ],
)
def test_the_shared_files_are_read(shared_data: Path, name: str, conversations: int) -> None:
    assert conversations == len(read(str(shared_data / f"{name}.jsonl")))


def test_requests_to_three_dozen_kinds_of_endpoint_are_read(shared_data: Path) -> None:
    lines = (shared_data / "billed_more.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    found = [transcripts_of(record) for record in records]
    assert {len(each) for each in found} == {1}
    assert all(each.model for (each,) in found)


def test_a_file_of_another_shape_is_refused_with_its_keys(shared_data: Path) -> None:
    with pytest.raises(UnreadableError, match="an object with the keys scenario, user_messages, questions at place 1"):
        read(str(shared_data / "bfcl_memory.jsonl"))


def test_the_folder_of_shared_files_is_read_at_once(shared_data: Path) -> None:
    found = read_all([str(shared_data)])
    assert len(found.transcripts) > 1000
    assert {each.name.partition(":")[0] for each in found.transcripts} == {
        path.name for path in shared_data.glob("*.jsonl") if path.stem != "bfcl_memory"
    }
    assert found.notes[0].startswith("Passed over ")


def test_billed_requests_are_read_with_their_tools(shared_data: Path) -> None:
    found = read(str(shared_data / "billed_usage.jsonl"))
    assert any(each.tools for each in found)
    assert any(message.type == "tool" for each in found for message in each.messages)
