"""The public benchmark: its conversations, its judgement, its policies, and what was committed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer.order import validate
from tests.benchmarks.trimming import conversations, generated, targets
from tests.benchmarks.trimming.conversations import COUNTER, COUNTS, Conversation, DataSet
from tests.benchmarks.trimming.measuring import FAULTS, Figures, Played, judge, needed, play
from tests.benchmarks.trimming.peers import version_of
from tests.benchmarks.trimming.reporting import PAGE, README, RESULTS
from tests.benchmarks.trimming.running import POLICIES
from tests.benchmarks.trimming.tables import TITLES, pasted, tables, with_figures
from tests.benchmarks.trimming.tokenizing import Exact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.trimming.policies import Policy

KINDS = ("shop", "coding", "korean", "english", "chinese", "oversized")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the last run found."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def made() -> list[DataSet]:
    """The generated conversations."""
    return list(conversations.generated_sets())


# --- the generated conversations ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_conversation_is_written_the_same_each_time(kind: str) -> None:
    assert getattr(generated, kind)() == getattr(generated, kind)()


def test_the_committed_figures_are_of_the_conversations_as_they_are_now(
    made: list[DataSet], results: dict[str, Any]
) -> None:
    described = [(each.name, each.max_tokens, each.calls, each.longest) for each in made]
    measured = results["generated"]["sets"]
    assert [(s["name"], s["max_tokens"], s["calls"], s["longest"]) for s in measured] == described


def test_whatever_a_model_is_asked_to_go_on_with_is_in_order(made: list[DataSet]) -> None:
    histories = (
        [*each.head, *each.messages[:n]] for data_set in made for each in data_set.conversations for n in each.calls
    )
    assert [found for history in histories if (found := validate(history))] == []


def test_the_generated_conversations_have_what_makes_real_ones_hard(made: list[DataSet]) -> None:
    shop, loops, korean, english, chinese, oversized = made
    steps = [calls for each in shop.conversations for m in each.messages if (calls := ids_of(m))]
    assert max(map(len, steps)) > 1, "parallel calls"
    assert any(repeats(each) for each in shop.conversations), "ids that come again"
    assert {ids for m in korean.conversations[0].messages for ids in ids_of(m)} == {"random_id"}
    assert all([m.type for m in each.messages].count("human") == 1 for each in loops.conversations)
    assert english.is_chat
    assert chinese.is_chat
    largest = [max(COUNTER([m]) for m in each.messages) for each in oversized.conversations]
    assert min(largest) > oversized.max_tokens


def ids_of(message: BaseMessage) -> list[str | None]:
    return [call["id"] for call in getattr(message, "tool_calls", [])]


def repeats(conversation: Conversation) -> bool:
    ids = [each for message in conversation.messages for each in ids_of(message)]
    return len(ids) > len(set(ids))


# --- counting -------------------------------------------------------------------------------------


def test_the_counters_given_to_the_others_count_what_they_are_judged_by(
    made: list[DataSet],
) -> None:
    exact = Exact()
    for data_set in made[:3]:
        for each in data_set.conversations[:2]:
            prices = COUNTS.tokens(each.messages, COUNTS.keys(each.messages))
            assert [exact.wire(message) for message in each.wire] == prices
            assert exact.messages(each.messages) == COUNTER(each.messages)


# --- judging --------------------------------------------------------------------------------------

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}},
}
CALL = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "call_1"}])
RESULT = ToolMessage("It is under the table, behind the box with the old shoes.", tool_call_id="call_1")
QUESTION = HumanMessage("Where is the cat?")
SYSTEM = SystemMessage("You find cats.")
TOOLS = Conversation(str(SYSTEM.content), (TOOL,), (QUESTION, CALL, RESULT))
CHAT = Conversation(None, (), (QUESTION, AIMessage("I do not know."), HumanMessage("Look again!")))


def judged(*window: BaseMessage, max_tokens: int = 1000) -> Figures:
    """Judge one window for the end of the conversation with tools."""
    whole = Conversation(TOOLS.system, (), TOOLS.messages)
    before = [whole.head[0], QUESTION]
    return judge(DataSet("One", max_tokens, (whole,)), Played(windows=[[before, list(window) or None]]))


def faults_of(*window: BaseMessage, max_tokens: int = 1000) -> set[str]:
    found = judged(*window, max_tokens=max_tokens).faults
    return {fault for fault, count in found.items() if count}


@pytest.mark.parametrize(
    ("window", "faults"),
    [
        ([SYSTEM, QUESTION, CALL, RESULT], set()),
        ([SYSTEM, QUESTION, RESULT], {"invalid"}),
        ([SYSTEM, CALL, RESULT], {"question_lost"}),
        ([SYSTEM, QUESTION, CALL], {"newest_lost"}),
        ([QUESTION, CALL, RESULT], {"system_lost"}),
        ([SYSTEM], {"empty_or_raised"}),
        ([], {"empty_or_raised"}),
    ],
)
def test_a_window_has_the_faults_it_has(window: list[BaseMessage], faults: set[str]) -> None:
    assert faults_of(*window) == faults


def test_a_window_that_costs_more_than_the_budget_is_at_fault() -> None:
    whole = [SYSTEM, QUESTION, CALL, RESULT]
    size = COUNTER(whole)
    assert faults_of(*whole, max_tokens=size) == set()
    assert faults_of(*whole, max_tokens=size - 1) == {"over_budget"}


def test_a_shortened_message_counts_by_what_is_left_of_it() -> None:
    text = str(RESULT.content)
    half = ToolMessage(f"{text[:15]}[...]{text[-15:]}", tool_call_id="call_1")
    figures = judged(SYSTEM, QUESTION, CALL, half)
    price = COUNTER([RESULT]) - COUNTS.constant
    assert figures.faults == dict.fromkeys(FAULTS, 0)
    assert figures.said - figures.seen == pytest.approx(price * (1 - 30 / len(text)))


def test_a_summary_shows_nothing_of_the_conversation() -> None:
    summary = HumanMessage("They looked for a cat.")
    assert judged(SYSTEM, summary, QUESTION, CALL, RESULT).seen == judged(SYSTEM, QUESTION, CALL, RESULT).seen


def test_what_begins_as_the_request_before_is_a_tenth_of_the_price_from_1024_tokens_on() -> None:
    long = [HumanMessage("cat " * 2000), AIMessage("Yes."), HumanMessage("And the dog?")]
    played = Played(windows=[[long[:1], long]])
    figures = judge(DataSet("One", 9000, (Conversation(None, (), tuple(long)),)), played)
    first, second = COUNTER(long[:1]), COUNTER(long)
    cached = first - COUNTS.constant
    assert figures.openai == pytest.approx(first + second - 0.9 * cached)
    assert figures.anthropic == pytest.approx(1.25 * first + 1.25 * (second - cached) + 0.1 * cached)


# --- the policies ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # the others' own
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_passes_on_what_fits(policy: Policy) -> None:
    if version_of(policy.package) is None:
        pytest.skip(f"{policy.package} is not installed")
    data_set = DataSet("Short", 4000, (CHAT if policy.chats_only else TOOLS,))
    played = play(policy, data_set)
    figures = judge(data_set, played)
    lost = {"system_lost"} if "defaults" in policy.name and not policy.is_ours else set()
    assert played.errors == []
    assert {fault for fault, count in figures.faults.items() if count} <= lost
    assert figures.seen == figures.said


@pytest.mark.parametrize("policy", POLICIES[:7], ids=lambda policy: policy.name)
def test_a_policy_of_the_package_tokenizes_each_text_once(policy: Policy, made: list[DataSet]) -> None:
    data_set = made[4]  # a chat: nothing has to be shortened
    assert play(policy, data_set).tokens <= needed(data_set)


# --- what was committed ---------------------------------------------------------------------------


def sections(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (section for name, section in results.items() if name in TITLES)


def test_the_page_shows_what_was_measured(results: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert pasted(page, results) == page
    assert tables(results) in page


def test_the_readme_shows_what_was_measured(results: dict[str, Any]) -> None:
    readme = README.read_text(encoding="utf-8")
    assert with_figures(readme, results) == readme


def test_no_committed_window_of_the_package_was_at_fault(results: dict[str, Any]) -> None:
    assert [found for each in sections(results) for found in targets.faults(each)] == []


def test_no_policy_without_a_fault_showed_as_much_for_as_little(results: dict[str, Any]) -> None:
    assert [found for each in sections(results) for found in targets.beaten(each)] == []


def test_the_committed_figures_of_the_package_tokenized_each_text_once(
    results: dict[str, Any],
) -> None:
    assert [found for each in sections(results) for found in targets.repeated(each)] == []


def test_every_package_was_there_when_the_figures_were_taken(results: dict[str, Any]) -> None:
    versions = {name: v for each in sections(results) for name, v in each["versions"].items()}
    assert {each.package for each in POLICIES} <= versions.keys()
    assert None not in versions.values()
