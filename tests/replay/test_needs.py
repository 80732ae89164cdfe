"""What a reply uses of the conversation before it, found by an index, is what a plain search finds."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer, TokenCounter
from langchain_tokenbuffer._replay.files import read
from langchain_tokenbuffer._replay.needs import facts_of, find, needs_of, occurs, text_of
from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Setting, calls_of, totals_of
from langchain_tokenbuffer._replay.transcripts import Transcript
from tests.benchmarks.evidence.facts import Finder, used
from tests.benchmarks.trimming.conversations import conversation
from tests.builders import ROOT, ai_calling, count_words
from tests.scale import examples, some
from tests.strategies import TRIM_TO, conversations, max_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EXACT = TokenCounter("o200k_base")
QUESTION = HumanMessage("Send order W-1234 to Elm Street 17, 서울역 앞.")
LOOK = ai_calling(("look", {"order": "W-1234"}, "1"))
ORDER = ToolMessage('{"order": "W-1234", "card": "card_77", "weights": [12345]}', tool_call_id="1")
SEND = AIMessage(
    "It weighs 12345.",
    tool_calls=[{"name": "send", "args": {"to": [{"street": "Elm Street"}, "서울"], "card": "card_77"}, "id": "2"}],
)
SHOES = [QUESTION, LOOK, ORDER, SEND]


# --- a plain search, written from the definition --------------------------------------------------


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def arguments(message: BaseMessage) -> list[str]:
    return (
        [leaf for call in message.tool_calls for leaf in leaves(call["args"])] if isinstance(message, AIMessage) else []
    )


def says(message: BaseMessage, fact: str) -> bool:
    pattern = rf"(?<![A-Za-z0-9]){re.escape(fact)}(?![A-Za-z0-9])"
    return any(re.search(pattern, text) for text in [message.text, *arguments(message)])


def uses(reply: BaseMessage) -> list[str]:
    words = re.findall(r"[A-Za-z0-9](?:[A-Za-z0-9_#@./+:-]*[A-Za-z0-9])?", reply.text)
    found = [*arguments(reply), *(word for word in words if re.search(r"\d", word))]
    return [*dict.fromkeys(fact for fact in found if len(fact.encode("utf-8", "surrogatepass")) >= 4)]


def plainly_missing(messages: Sequence[BaseMessage], at: int, window: Sequence[BaseMessage]) -> tuple[int, list[str]]:
    """Return how many facts the reply at an index uses, and those that no message of the window says."""
    head = [message for message in messages[:1] if message.type == "system"]
    facts = [
        fact
        for fact in uses(messages[at])
        if any(says(each, fact) for each in messages[:at]) and not any(says(each, fact) for each in head)
    ]
    return len(facts), [fact for fact in facts if not any(says(each, fact) for each in window)]


def plainly_counted(messages: list[BaseMessage], buffer: TokenBuffer) -> Iterator[tuple[int, list[str]]]:
    begun = len(messages) and messages[0].type == "system"
    for at in range(begun + 1, len(messages)):
        if messages[at].type == "ai":
            try:
                window = buffer.trim(messages[:at])
            except TokenBudgetError:
                window = []
            yield plainly_missing(messages, at, window)


def replayed(
    messages: list[BaseMessage], buffer: TokenBuffer, counter: TokenCounter
) -> Iterator[tuple[int, list[str]]]:
    counted = CountedTranscript(Transcript("it", messages), counter)
    setting = Setting(buffer.max_tokens, buffer.trim_to, buffer.clear_results)
    for call in calls_of(counted, setting, Prices()):
        if call.length < len(messages):
            yield call.facts, [need.fact for need in call.missing]


# --- a fact ---------------------------------------------------------------------------------------


def test_a_reply_uses_the_arguments_of_its_calls_and_the_ids_and_numbers_of_its_text() -> None:
    assert list(facts_of(SEND)) == ["Elm Street", "서울", "card_77", "12345"]


def test_what_is_shorter_than_four_bytes_is_no_fact() -> None:
    assert list(facts_of(AIMessage("No 123, but 1234.", tool_calls=[]))) == ["1234"]


def test_a_need_is_what_was_said_before_the_reply() -> None:
    needs = needs_of(SHOES, [1, 3])
    assert {index: [need.fact for need in those] for index, those in needs.items()} == {
        1: ["W-1234"],
        3: ["Elm Street", "서울", "card_77", "12345"],
    }


def test_what_is_always_shown_cannot_be_missing() -> None:
    needs = needs_of(SHOES, [1, 3], always=["We ship to Elm Street."])
    assert "Elm Street" not in [need.fact for need in needs[3]]


def test_what_only_a_later_message_says_is_no_need() -> None:
    assert needs_of([HumanMessage("hello"), AIMessage("W-1234"), HumanMessage("W-1234?")], [1]) == {}


def test_a_need_knows_the_newest_message_that_has_it() -> None:
    ((need,),) = needs_of(SHOES[:2], [1]).values()
    assert (need.newest_before(1), need.newest_before(0)) == (0, -1)


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        ("card_77", True),
        ('{"card": "card_77"}', True),
        ("pay by card_77.", True),
        ("card_77에서", True),
        ("card_771 or card_77", True),
        ("card_771", False),
        ("a1card_77", False),
        ("card 77", False),
    ],
)
def test_a_fact_is_not_a_part_of_a_longer_id(text: str, is_there: bool) -> None:  # noqa: FBT001
    assert occurs("card_77", text) is is_there


def test_blocks_say_what_they_show() -> None:
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": "order W-1234"}, {"type": "text", "text": "card_77"}]
    assert text_of(HumanMessage(blocks)).splitlines()[:2] == ["order W-1234", "card_77"]


WORDS = [
    "W-1234",
    "W-12",
    "1234",
    "card_77",
    "card_771",
    "서울",
    "서울역",
    "Elm Street",
    "----",
    " ",
    ", ",
    "x",
    "é",
    "\n",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)


@settings(max_examples=examples(300))
@given(st.lists(TEXTS, max_size=6), st.lists(st.one_of(st.sampled_from(WORDS), TEXTS.filter(bool)), max_size=6))
def test_the_index_finds_what_a_plain_search_finds(texts: list[str], facts: list[str]) -> None:
    found = find(facts, texts)
    for fact in facts:
        pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(fact)}(?![A-Za-z0-9])")
        assert list(found[fact]) == [place for place, text in enumerate(texts) if pattern.search(text)]


# --- windows --------------------------------------------------------------------------------------


def with_ids(messages: list[BaseMessage], numbers: Sequence[int]) -> list[BaseMessage]:
    """Return a conversation in which messages say ids, some of them more than once."""
    said = []
    for place, message in enumerate(messages):
        number = numbers[place % len(numbers)]
        if isinstance(message.content, str) and message.type != "system":
            said.append(message.model_copy(update={"content": f"{message.content} id-{number:03}"}))
        else:
            said.append(message)
    return said


@settings(max_examples=examples(150))
@given(
    conversations(),
    max_tokens(),
    st.sampled_from(TRIM_TO),
    st.booleans(),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
)
def test_what_a_call_misses_is_what_the_buffers_window_does_not_say(
    messages: list[BaseMessage],
    budget: int,
    trim_to: float,
    clear: bool,  # noqa: FBT001
    numbers: list[int],
) -> None:
    said = with_ids(messages, numbers)
    if [each.type for each in said[:2]].count("system") > 1:
        said = said[1:]
    buffer = TokenBuffer(budget, token_counter=count_words, trim_to=trim_to, clear_results=clear)
    assert [*replayed(said, buffer, TokenCounter(count_words))] == [*plainly_counted(said, buffer)]


def test_what_a_cleared_result_said_is_missing_and_what_is_left_of_a_clamped_one_is_not() -> None:
    messages: list[BaseMessage] = [HumanMessage("look")]
    for number in range(9):
        messages.append(ai_calling(("look", {"at": number}, f"call {number}")))
        messages.append(ToolMessage(f"id-{number:03} " + "word " * 100, tool_call_id=f"call {number}"))
    messages.append(ai_calling(("take", {"ids": ["id-000", "id-008"]}, "take")))
    buffer = TokenBuffer(900, token_counter=count_words, clear_results=True)
    assert 2 in buffer.window(messages[:-1]).cleared
    *_, (facts, missing) = replayed(messages, buffer, TokenCounter(count_words))
    assert (facts, missing) == (2, ["id-000"])


def test_a_call_that_could_not_be_sent_misses_all_it_uses() -> None:
    long = ai_calling(("look", {"at": "word " * 50}, "1"))
    messages = [HumanMessage("order W-1234"), long, ToolMessage("here", tool_call_id="1"), AIMessage("W-1234 is here.")]
    buffer = TokenBuffer(30, token_counter=count_words)
    *_, (facts, missing) = replayed(messages, buffer, TokenCounter(count_words))
    assert (facts, missing) == (1, ["W-1234"])


def test_tools_are_always_shown() -> None:
    tool = {"name": "book", "description": "", "parameters": {"properties": {"cabin": {"enum": ["economy"]}}}}
    messages = [HumanMessage("economy, to Seoul"), ai_calling(("book", {"cabin": "economy", "to": "Seoul"}, "1"))]
    counted = CountedTranscript(Transcript("it", messages, (tool,)), TokenCounter(count_words))
    assert [need.fact for need in counted.needs[1]] == ["Seoul"]


# --- real ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize(
    ("name", "budget"), [("tau_airline_en", 3000), ("swe_agent_en", 4200), ("functionchat_ko", 300)]
)
def test_real_replies_miss_what_a_plain_search_does_not_find(
    shared_data: Path,
    name: str,
    budget: int,
    clear: bool,  # noqa: FBT001
) -> None:
    buffer = TokenBuffer(budget, token_counter=EXACT, clear_results=clear)
    for transcript in some(read(str(shared_data / f"{name}.jsonl"))):
        assert [*replayed(transcript.messages, buffer, EXACT)] == [*plainly_counted(transcript.messages, buffer)]


@pytest.mark.parametrize("name", ["tau_airline_en", "swe_agent_en", "functionchat_ko"])
def test_real_replies_need_what_the_benchmark_of_evidence_says(shared_data: Path, name: str) -> None:
    for line in (shared_data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        talk = conversation(json.loads(line))
        needs = used(talk, [0] * len(talk.messages))
        messages = [*talk.head, *talk.messages]
        counted = CountedTranscript(Transcript("it", messages), EXACT)
        ours = {at - len(talk.head): tuple(need.fact for need in those) for at, those in counted.needs.items()}
        assert ours == {need.call: need.facts for need in needs}


def test_the_benchmark_finds_as_many_facts_in_the_windows(shared_data: Path) -> None:
    buffer = TokenBuffer(3000, token_counter=EXACT, clear_results=True)
    line = (shared_data / "tau_airline_en.jsonl").read_text(encoding="utf-8").splitlines()[1]
    talk = conversation(json.loads(line))
    finder, messages = Finder(talk), [*talk.head, *talk.messages]
    held = sum(
        finder.held(need.facts, buffer.trim(messages[: need.call + len(talk.head)]))
        for need in used(talk, [0] * len(talk.messages))
    )
    counted = CountedTranscript(Transcript("it", messages), EXACT)
    calls = calls_of(counted, Setting(3000, 0.6, clear_results=True), Prices())
    assert totals_of([(counted, calls)], Prices()).facts_held == held


# --- the sample, checked by hand ------------------------------------------------------------------


def test_eight_of_the_samples_replies_miss_something_at_3100_tokens() -> None:
    (transcript,) = read(str(ROOT / "examples" / "transcript.json"))
    counted = CountedTranscript(transcript, TokenCounter("gpt-4o"))
    totals = totals_of([(counted, calls_of(counted, Setting(3100, 0.6), Prices()))], Prices())
    assert (totals.replies, totals.misses) == (186, 8)


def test_none_of_the_samples_replies_misses_anything_at_9400_tokens() -> None:
    (transcript,) = read(str(ROOT / "examples" / "transcript.json"))
    counted = CountedTranscript(transcript, TokenCounter("gpt-4o"))
    assert not [call for call in calls_of(counted, Setting(9400, 0.4), Prices()) if call.missing]


def test_a_greeting_says_things_but_is_no_reply() -> None:
    messages = [SystemMessage("be kind"), AIMessage("W-1234"), HumanMessage("a"), AIMessage("W-1234")]
    counted = CountedTranscript(Transcript("it", messages), TokenCounter(count_words))
    assert {at: [need.fact for need in those] for at, those in counted.needs.items()} == {3: ["W-1234"]}
