"""The measurement of evidence: its facts, its windows, its intervals, its sets, and what was committed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import tiktoken
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._replay.needs import facts_of
from langchain_tokenbuffer.order import validate
from tests.benchmarks.evidence import scripts, targets
from tests.benchmarks.evidence.bootstrap import Bootstrap, Share
from tests.benchmarks.evidence.configurations import BASES, OURS, POLICIES, configuration
from tests.benchmarks.evidence.facts import Finder, Need, sentence_with, used
from tests.benchmarks.evidence.measuring import counted_once, measure
from tests.benchmarks.evidence.reporting import KEY, PAGE, RESULTS
from tests.benchmarks.evidence.running import describe, players
from tests.benchmarks.evidence.sets import Case, EvidenceSet, generated_sets
from tests.benchmarks.evidence.tables import BEGIN, END, at_cost, tables
from tests.benchmarks.trimming.conversations import Conversation
from tests.benchmarks.trimming.peers import version_of

if TYPE_CHECKING:
    from collections.abc import Hashable

SYSTEM = "You sell shoes. Say 'free-2026' when shipping is free."
QUESTION = HumanMessage("Send order W-1234 to Elm Street 17.")
LOOK = AIMessage("", tool_calls=[{"name": "look", "args": {"order": "W-1234"}, "id": "1"}])
ORDER = ToolMessage('{"order": "W-1234", "card": "card_77", "weights": [12345]}', tool_call_id="1")
SEND = AIMessage(
    "It weighs 12345, free-2026.",
    tool_calls=[{"name": "send", "args": {"to": {"street": "Elm Street"}, "card": "card_77", "fast": True}, "id": "2"}],
)
SENT = ToolMessage("Sent as 9-9-9.", tool_call_id="2")
SHOES = Conversation(SYSTEM, (), (QUESTION, LOOK, ORDER, SEND, SENT))


# --- facts ----------------------------------------------------------------------------------------


def test_a_reply_uses_the_arguments_of_its_calls_and_the_ids_and_numbers_of_its_text() -> None:
    assert list(facts_of(SEND)) == ["Elm Street", "card_77", "12345", "free-2026"]


def test_a_fact_is_what_was_said_before_and_not_by_the_system_message() -> None:
    needs = list(used(SHOES, "abcde"))
    assert needs == [Need(1, ("W-1234",), "b"), Need(3, ("Elm Street", "card_77", "12345"), "d")]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (["38"], "The counter has 38 feet."),
        (["thirty", "kitchen"], "My kitchen is small."),
        (["8"], "My kitchen is small. The counter has 38 feet."),
    ],
)
def test_evidence_is_the_sentence_with_the_answer_else_the_message(answers: list[str], sentence: str) -> None:
    assert sentence_with(answers, "My kitchen is small. The counter has 38 feet.") == sentence


# --- windows --------------------------------------------------------------------------------------

FACTS = ("Elm Street", "card_77", "12345")


@pytest.mark.parametrize(
    ("window", "held"),
    [
        ([SystemMessage(SYSTEM), QUESTION, LOOK, ORDER], 3),
        ([QUESTION, LOOK], 1),
        ([ToolMessage(ORDER.content, tool_call_id="1", id="other object")], 2),
        ([ToolMessage('{"order": "W-1234", "card": "card_77", [...]', tool_call_id="1")], 1),
        ([HumanMessage("They said: Elm Street, card_771.")], 1),
        ([HumanMessage(json.dumps({"quoted": 'to "Elm Street"\n12345'}))], 2),
        ([], 0),
    ],
)
def test_a_window_holds_the_facts_that_it_shows(window: list[BaseMessage], held: int) -> None:
    assert Finder(SHOES).held(FACTS, window) == held


def test_never_trimming_holds_everything() -> None:
    [never] = [each for each in POLICIES if each.name == "never trimming"]
    evidence = measure(never, shoes(4000))
    assert evidence.facts == {"b": Share(1, 1), "d": Share(3, 3)}
    assert evidence.whole == {"b": Share(1, 1), "d": Share(1, 1)}


def test_a_policy_that_raises_holds_nothing() -> None:
    evidence = measure(OURS[0], shoes(10))
    assert evidence.facts == {"b": Share(0, 1), "d": Share(0, 3)}
    assert evidence.figures.faults["empty_or_raised"] == 3


def shoes(max_tokens: int) -> EvidenceSet:
    return EvidenceSet("Shoes", max_tokens, (Case(SHOES, tuple(used(SHOES, "abcde"))),), "messages")


def test_each_question_at_the_end_of_a_chat_is_asked_of_ours() -> None:
    asked: list[str] = []

    class Listening(TokenBuffer):
        def trim(self, messages: Any) -> list[BaseMessage]:
            asked.append(messages[-1].text)
            return super().trim(messages)

    told = HumanMessage("I am Ada."), AIMessage("I see."), HumanMessage("Which?")
    needs = (Need(3, ("I am Ada.",), 0, "Who am I?"), Need(3, ("I am Ada.",), 1, "My name?"))
    chat = EvidenceSet("Chat", 100, (Case(Conversation(None, (), told), needs),), "questions", is_chat=True)
    evidence = measure(configuration({"trim_to": 0.6}, Listening), chat)
    assert asked == ["I am Ada.", "Which?", "Who am I?", "My name?"]
    assert evidence.whole == {0: Share(1, 1), 1: Share(1, 1)}


def test_a_text_is_tokenized_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def encode(_: tiktoken.Encoding, text: str) -> list[int]:
        texts.append(text)
        return [1]

    monkeypatch.setattr(tiktoken.Encoding, "encode_ordinary", encode)
    encoding = tiktoken.get_encoding("o200k_base")
    with counted_once():
        assert encoding.encode_ordinary("cat") == encoding.encode_ordinary("cat") == [1]
    assert texts == ["cat"]


# --- intervals ------------------------------------------------------------------------------------

UNITS = list("abcdefgh")


def test_an_interval_has_no_width_where_all_units_are_alike() -> None:
    assert Bootstrap(UNITS).share({unit: Share(3, 4) for unit in UNITS}) == (0.75, 0.75, 0.75)


def test_an_interval_lies_around_the_share_of_all() -> None:
    value, low, high = Bootstrap(UNITS).share({unit: Share(place, 8) for place, unit in enumerate(UNITS, 1)})
    assert low < value == 36 / 64 < high


def test_a_gain_that_is_the_same_in_every_unit_is_certain_however_wide_the_shares() -> None:
    base: dict[Hashable, Share] = {unit: Share(place, 8) for place, unit in enumerate(UNITS)}
    better: dict[Hashable, Share] = {unit: Share(share.part + 1, 8) for unit, share in base.items()}
    assert Bootstrap(UNITS).gain(better, base) == (0.125, 0.125, 0.125)


@pytest.mark.parametrize(("cost", "value"), [(0.5, 70), (1.0, 70), (1.5, 75), (2.5, 85), (9.0, 90)])
def test_a_line_through_points_has_a_value_at_each_cost(cost: float, value: float) -> None:
    assert at_cost([(1.0, 70), (2.0, 80), (3.0, 90)], cost) == value


# --- the sets -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> list[EvidenceSet]:
    """The generated sets."""
    return list(generated_sets())


@pytest.mark.parametrize("kind", ["orders", "research"])
def test_agents_are_written_the_same_each_time(kind: str) -> None:
    assert getattr(scripts, kind)() == getattr(scripts, kind)()


@pytest.mark.parametrize("language", scripts.LANGUAGES)
def test_chats_are_written_the_same_each_time(language: str) -> None:
    assert scripts.chats(language) == scripts.chats(language)


def test_whatever_a_model_is_asked_to_go_on_with_is_in_order(made: list[EvidenceSet]) -> None:
    conversations = [case.conversation for each in made for case in each.cases]
    assert [found for each in conversations if (found := validate([*each.head, *each.messages]))] == []


def test_what_a_reply_needs_stands_before_it(made: list[EvidenceSet]) -> None:
    for case in (case for each in made for case in each.cases):
        for need in case.needs:
            before = case.conversation.messages[: need.call]
            assert case.finder.held(need.facts, before) == len(need.facts)


def test_every_language_has_a_question_for_each_planted_fact(made: list[EvidenceSet]) -> None:
    chats = [each for each in made if each.is_chat]
    assert [len(case.needs) for each in chats for case in each.cases] == [scripts.PLANTED] * 3 * scripts.CHATS


# --- the rows -------------------------------------------------------------------------------------


def test_a_row_is_named_by_what_is_not_as_usual() -> None:
    rows: list[dict[str, Any]] = [{"trim_to": 0.6}, {"trim_to": 0.8}, {"trim_to": 0.8, "oversize": "drop"}]
    assert [configuration(row).name for row in rows] == [
        "`TokenBuffer`",
        "`TokenBuffer(trim_to=0.8)`",
        "`TokenBuffer(trim_to=0.8, oversize=drop)`",
    ]


def test_a_variant_is_compared_with_the_row_of_its_low_water_mark() -> None:
    assert BASES.keys() == {each.name for each in OURS}
    assert {base for base in BASES.values() if base} <= BASES.keys()


def test_only_ours_play_what_is_not_for_all() -> None:
    for_us = EvidenceSet("Shoes", 4000, shoes(4000).cases, "messages", for_all=False)
    assert players(for_us) == OURS


@pytest.mark.filterwarnings("ignore")  # the others' own
def test_every_policy_holds_all_of_what_fits() -> None:
    with counted_once():
        for policy in (each for each in players(shoes(4000)) if version_of(each.package)):
            assert all(share.part == share.whole for share in measure(policy, shoes(4000)).facts.values()), policy.name


# --- what was committed ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sections() -> dict[str, Any]:
    """What the last run found."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))[KEY]
    return found


def test_the_page_shows_what_was_measured(sections: dict[str, Any]) -> None:
    shown = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert shown.strip() == tables(sections)


def test_the_committed_figures_are_of_the_sets_as_they_are_now(
    made: list[EvidenceSet], sections: dict[str, Any]
) -> None:
    assert sections["generated"]["sets"] == [describe(each) for each in made]


def test_no_committed_window_of_the_package_was_at_fault(sections: dict[str, Any]) -> None:
    assert [found for each in sections.values() for found in targets.faults(each)] == []


def rows(gain: list[float], **policy: Any) -> dict[str, Any]:
    """A section with one row."""
    row = {"faults": {"invalid": 0}, "gain": gain, "against": "`TokenBuffer`"}
    return {"policies": [{"name": "it", "ours": False, "base": None, "sets": {"Shoes": row}, **policy}]}


@pytest.mark.parametrize(("gain", "is_ahead"), [([0.02, 0.01, 0.03], True), ([0.02, 0.0, 0.05], False)])
def test_another_policy_is_ahead_where_chance_is_not_enough(gain: list[float], is_ahead: bool) -> None:  # noqa: FBT001
    assert bool(list(targets.ahead(rows(gain)))) is is_ahead


@pytest.mark.parametrize(("gain", "is_behind"), [([-0.01, -0.02, 0.01], True), ([0.0, -0.02, 0.01], False)])
def test_a_setting_is_behind_where_it_holds_less(gain: list[float], is_behind: bool) -> None:  # noqa: FBT001
    assert bool(list(targets.behind(rows(gain, ours=True, base="`TokenBuffer`")))) is is_behind


def test_every_package_was_there_when_the_figures_were_taken(sections: dict[str, Any]) -> None:
    versions = {name: version for each in sections.values() for name, version in each["versions"].items()}
    assert {each.package for each in POLICIES if not each.is_ours} <= versions.keys()
    assert None not in versions.values()
