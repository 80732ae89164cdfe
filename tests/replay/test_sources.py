"""Several files, folders and databases at once: in one order, and what is passed over is told."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import SQLTokenBufferHistory, TokenBufferError
from langchain_tokenbuffer._replay import sessions
from langchain_tokenbuffer._replay.histories import HistoryOptions, shown_url
from langchain_tokenbuffer._replay.sources import Found, SourceError, read_all
from langchain_tokenbuffer.replay import main

if TYPE_CHECKING:
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

TALK = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]
OTHER = [{"role": "user", "content": "Who is there?"}, {"role": "assistant", "content": "Nobody."}]


def write(path: Path, value: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def names(found: Found) -> list[str]:
    return [each.name for each in found.transcripts]


# --- files and folders ----------------------------------------------------------------------------


def test_files_are_read_in_the_order_they_are_given(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, talk) for name, talk in (("b.json", TALK), ("a.json", OTHER))]
    assert names(read_all(paths)) == paths


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for number, name in enumerate(["b/z.json", "b/a.jsonl", "a.JSON", "c.json"]):
        write(tmp_path / name, [*TALK, {"role": "user", "content": f"{number}"}])
    assert names(read_all([str(tmp_path)])) == ["a.JSON", "c.json", "b/a.jsonl", "b/z.json"]


def test_a_conversation_of_a_file_among_others_has_the_files_name_in_front(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", json.dumps({"id": "ann", "messages": TALK}))
    other = write(tmp_path / "other.json", OTHER)
    assert names(read_all([path, other])) == [f"{path}: ann", other]


def test_what_is_hidden_in_a_folder_is_not_looked_at(tmp_path: Path) -> None:
    for name in ("a.json", ".b.json", ".git/c.json"):
        write(tmp_path / name, TALK)
    found = read_all([str(tmp_path)])
    assert (names(found), found.notes) == (["a.json"], [])


def test_what_a_folder_holds_beside_transcripts_is_passed_over_and_told_once(tmp_path: Path) -> None:
    write(tmp_path / "a.json", TALK)
    for name in ("b.csv", "c.json", "d.png", "e.txt"):
        write(tmp_path / name, "{")
    (note,) = read_all([str(tmp_path)]).notes
    assert note.startswith("Passed over 4 of 5 files: b.csv (a name that ends in .csv); c.json (no JSON (Expecting ")
    assert note.endswith("d.png (a name that ends in .png); and 1 more.")


def test_of_several_files_what_holds_no_conversation_is_passed_over(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.json", TALK), write(tmp_path / "b.json", "[]")]
    found = read_all(paths)
    assert names(found) == paths[:1]
    assert found.notes == [f"Passed over 1 of 2 files: {paths[1]} (an empty list)."]


def test_of_several_files_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.json: No such file"):
        read_all([write(tmp_path / "a.json", TALK), str(tmp_path / "nowhere.json")])


def test_several_files_without_a_conversation_are_an_error_that_names_them(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, "[]") for name in ("a.json", "b.json")]
    with pytest.raises(SourceError, match=r"^2 sources: found no conversation in 2 files: .*a\.json \(an empty list\)"):
        read_all(paths)


def test_requests_in_a_file_each_are_one_conversation(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path / f"{number}.json", {"messages": [*TALK, *OTHER][:number]})
    found = read_all([str(tmp_path)])
    assert names(found) == ["3.json"]
    assert found.notes == ["Left out 2 that are the beginning of another conversation."]


def test_a_link_to_a_folder_in_a_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a.json", TALK)
    (tmp_path / "again").symlink_to(tmp_path)
    assert names(read_all([str(tmp_path)])) == ["a.json"]


def test_the_command_reads_a_folder(tmp_path: Path, capsys: Captured) -> None:
    for name, talk in (("a.json", TALK), ("b.json", OTHER)):
        write(tmp_path / name, talk)
    assert main(["replay", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["conversations"]] == ["a.json", "b.json"]


# --- histories ------------------------------------------------------------------------------------


def history(path: Path, session: str, **options: Any) -> SQLTokenBufferHistory:
    return SQLTokenBufferHistory(session, path, max_tokens=100, token_counter=len, **options)


def talk_of(text: str) -> list[BaseMessage]:
    return [HumanMessage(text), AIMessage("Yes.", response_metadata={"model_name": "claude-sonnet-4-5"})]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "chat.db"
    for session in ("ann", "bob"):
        with history(path, session) as stored:
            stored.add_messages(talk_of("Hello?"))
    with history(path, "ann") as stored:
        stored.add_messages(talk_of("Again?"))
    return path


def test_every_session_of_a_history_is_a_conversation(database: Path) -> None:
    found = read_all([str(database)])
    assert {each.name: len(each.messages) for each in found.transcripts} == {"ann": 4, "bob": 2}


def test_a_history_is_all_that_is_stored_and_not_its_window(database: Path) -> None:
    with history(database, "eve") as stored:
        stored.add_messages([HumanMessage(str(number)) for number in range(2500)])
    (found,) = read_all([str(database)], HistoryOptions("eve")).transcripts
    assert [message.content for message in found.messages] == [str(number) for number in range(2500)]


def test_a_session_is_counted_as_the_model_that_its_replies_name(database: Path) -> None:
    assert {each.model for each in read_all([str(database)]).transcripts} == {"claude-sonnet-4-5"}


def test_one_session_is_chosen_by_its_id(database: Path) -> None:
    assert names(read_all([str(database)], HistoryOptions("bob"))) == ["bob"]


def test_a_history_is_read_by_its_url_too(database: Path) -> None:
    url = f"sqlite:///{database}"
    found = read_all([url])
    assert (found.name, names(found)) == (url, ["ann", "bob"])


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
def test_a_url_with_either_driver_is_read(database: Path, driver: str) -> None:
    assert names(read_all([f"{driver}:///{database}"])) == ["ann", "bob"]


def test_another_prefix_is_another_history(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with history(path, "ann", prefix="chat") as stored:
        stored.add_messages(talk_of("Hello?"))
    assert names(read_all([str(path)], HistoryOptions(prefix="chat"))) == ["ann"]
    with pytest.raises(SourceError, match="chat_messages"):
        read_all([str(path)])


def test_reading_a_history_changes_nothing(database: Path) -> None:
    before = database.read_bytes()
    read_all([str(database)])
    assert database.read_bytes() == before


def test_reading_a_history_creates_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(SourceError, match="are not there"):
        read_all([f"sqlite:///{path}"])
    assert path.read_bytes() == b""


def test_a_history_is_read_while_its_database_is_open_elsewhere(database: Path) -> None:
    with history(database, "cat") as stored:
        stored.add_messages(talk_of("Hello?"))
        assert names(read_all([str(database)])) == ["ann", "bob", "cat"]


def test_an_unknown_session_is_an_error_that_names_some(database: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no session 'cat' with messages; the first .*: ann, bob"):
        read_all([str(database)], HistoryOptions("cat"))


def test_a_session_without_messages_is_no_conversation(database: Path) -> None:
    with history(database, "bob") as stored:
        stored.clear()
    assert names(read_all([str(database)])) == ["ann"]


def test_a_session_that_another_begins_with_is_still_a_conversation(database: Path) -> None:
    assert names(read_all([str(database), write(database.parent / "a.json", OTHER)])) == [
        f"{database}: ann",
        f"{database}: bob",
        str(database.parent / "a.json"),
    ]


def test_of_more_than_memory_holds_the_sessions_used_last_are_read(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with history(database, "bob") as stored:
        stored.add_messages(talk_of("Still there?"))
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 1)
    found = read_all([str(database)])
    assert names(found) == ["bob"]
    assert found.notes == ["Read the 1 of 2 sessions used last; --session reads any one."]


def test_sessions_are_read_until_memory_is_full(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with history(database, "eve") as stored:
        stored.add_messages(talk_of("x" * 9000))
    monkeypatch.setattr(sessions, "MOST_LETTERS", 10_000)
    assert names(read_all([str(database)])) == ["eve"]


def test_a_session_is_read_whole_however_long_it_is(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_LETTERS", 10)
    assert names(read_all([str(database)], HistoryOptions("ann"))) == ["ann"]


def test_a_copy_of_a_history_in_a_folder_is_found(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    shutil.copy(database, folder / "chat.sqlite3")
    assert names(read_all([str(folder)])) == ["chat.sqlite3: ann", "chat.sqlite3: bob"]


def test_a_url_is_shown_without_what_gives_access() -> None:
    shown = shown_url("postgresql+psycopg://ann:hunter2@host/chat?sslpassword=hunter2&application_name=a")
    assert "hunter2" not in shown
    assert shown.startswith("postgresql+psycopg://ann:***@host/chat?")


def test_a_history_without_its_extra_says_what_to_install(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, sessions.__name__, None)
    with pytest.raises(TokenBufferError, match=r'pip install "langchain-tokenbuffer\[sql\]"'):
        read_all([str(database)])


def test_a_url_that_nothing_can_show_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, sessions.__name__, None)
    with pytest.raises(SourceError) as caught:
        read_all(["postgresql://ann:hunter2@host/chat"])
    assert "hunter2" not in str(caught.value)
