"""`recall_tool`: agents look up what was said earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenBufferChatMessageHistory, TokenCounter, recall_tool
from langchain_tokenbuffer._recall.quotation import BEGIN, END
from langchain_tokenbuffer.recall import NOTHING
from tests.builders import ai_calling, count_words, run_script
from tests.scale import examples

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from langchain_tokenbuffer.recall import Source

LOCKER = "The locker has the code 4711."
FOUND = f'{BEGIN}\n{{"type": "human", "text": "{LOCKER}"}}\n{END}'
ASKED = {"question": "locker code"}


class Stored(InMemoryChatMessageHistory):
    """The class itself is deprecated."""


def history(*texts: str) -> Stored:
    messages: list[BaseMessage] = []
    for text in texts:
        messages += [HumanMessage(text), AIMessage("Noted.")]
    return Stored(messages=messages)


def view(*texts: str) -> TokenBufferChatMessageHistory:
    return TokenBufferChatMessageHistory(history(*texts), max_tokens=20, token_counter=count_words)


FILLER = [f"Banjo number {n} is played with joy." for n in range(9)]
SESSIONS = {"ann": history(LOCKER), "bob": history("The locker has the code 1234."), "eve": history()}


def session_of(config: RunnableConfig) -> Stored:
    return SESSIONS[config["configurable"]["user"]]


async def asession_of(config: RunnableConfig) -> Stored:
    return session_of(config)


def config_of(user: str) -> RunnableConfig:
    return {"configurable": {"user": user}}


@pytest.mark.parametrize("source", [history(LOCKER), view(LOCKER, *FILLER), lambda _: history(LOCKER)])
async def test_a_tool_finds_what_a_source_has(source: Source) -> None:
    tool = recall_tool(source, token_counter=count_words)
    assert tool.invoke(ASKED) == await tool.ainvoke(ASKED) == FOUND


def test_of_a_windowed_history_only_what_left_is_found() -> None:
    assert recall_tool(view(LOCKER), token_counter=count_words).invoke(ASKED) == NOTHING


def test_where_nothing_matches_the_tool_says_so() -> None:
    assert recall_tool(history(*FILLER), token_counter=count_words).invoke(ASKED) == NOTHING


def test_a_function_says_whose_history_it_is() -> None:
    tool = recall_tool(session_of, token_counter=count_words)
    assert ["1234" in tool.invoke(ASKED, config_of(user)) for user in SESSIONS] == [False, True, False]


async def test_a_function_may_be_async() -> None:
    tool = recall_tool(asession_of, token_counter=count_words)
    assert await tool.ainvoke(ASKED, config_of("ann")) == FOUND
    with pytest.raises(TypeError, match="ainvoke"):
        tool.invoke(ASKED, config_of("ann"))


def test_a_function_must_return_a_history() -> None:
    tool = recall_tool(lambda _: [HumanMessage(LOCKER)], token_counter=count_words)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="must return a history, got list"):
        tool.invoke(ASKED)


secrets = st.lists(st.sampled_from(["locker", "code", "banjo", "joy", "4711"]), min_size=1, max_size=9).map(" ".join)


@given(st.dictionaries(st.sampled_from("abc"), st.lists(secrets, max_size=5), min_size=1), secrets)
@settings(max_examples=examples(200), deadline=None)
def test_an_answer_has_nothing_of_another_session(said: dict[str, list[str]], asked: str) -> None:
    sessions = {user: view(*(f"{user}: {text}" for text in texts), *FILLER) for user, texts in said.items()}
    tool = recall_tool(lambda config: sessions[config["configurable"]["user"]], token_counter=count_words)
    for user in sessions:
        answer = tool.invoke({"question": asked}, config_of(user))
        assert [other for other in sessions if other != user and f'"{other}: ' in answer] == []


@given(st.lists(st.text(max_size=300), max_size=8), st.text(max_size=60), st.integers(1, 200))
@settings(max_examples=examples(200), deadline=None)
def test_an_answer_is_within_its_tokens(said: list[str], asked: str, most: int) -> None:
    answer = recall_tool(history(*said), max_tokens=most, token_counter="o200k_base").invoke({"question": asked})
    counter = TokenCounter("o200k_base")
    assert counter([HumanMessage(answer)]) - counter([HumanMessage("")]) <= most


def test_the_best_that_fits_is_answered() -> None:
    texts = [f"{LOCKER} {'also ' * n}" for n in range(3, 30)]
    answer = recall_tool(history(*texts, LOCKER), max_tokens=40, token_counter=count_words).invoke(ASKED)
    assert f'"{LOCKER}"' in answer


@pytest.mark.parametrize(
    ("source", "said"),
    [(7, "source must be a history"), (None, "source must be a history")],
)
def test_another_source_is_refused(source: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        recall_tool(source, token_counter=count_words)


def test_no_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens must be an int of at least 1, got 0"):
        recall_tool(history(), max_tokens=0, token_counter=count_words)


# --- an agent's state ---------------------------------------------------------------------------

THREAD: list[BaseMessage] = [
    HumanMessage(LOCKER),
    AIMessage("Noted."),
    HumanMessage("Which locker code?"),
    ai_calling(("recall", {"question": "x"}, "0")),
    ToolMessage(f"{LOCKER} Said the tool.", tool_call_id="0", name="recall"),
    ai_calling(("recall", ASKED, "1"), content="The locker code, I will see."),
]


async def test_of_a_thread_the_question_the_call_and_earlier_answers_are_not_found() -> None:
    pytest.importorskip("langgraph")
    tool = recall_tool(token_counter=count_words)
    assert tool.invoke({**ASKED, "messages": THREAD}) == FOUND
    assert await tool.ainvoke({**ASKED, "messages": THREAD}) == FOUND


def test_a_model_is_told_of_the_question_alone() -> None:
    pytest.importorskip("langgraph")
    schema: Any = recall_tool(token_counter=count_words).tool_call_schema
    assert list(schema.model_json_schema()["properties"]) == ["question"]


def test_an_agent_hands_its_state_over() -> None:
    agents = pytest.importorskip("langchain.agents")
    from tests.agents.scripted import Scripted  # noqa: PLC0415  # it needs langchain

    model = Scripted(replies=[ai_calling(("recall", ASKED, "1")), AIMessage("4711.")])
    agent = agents.create_agent(model, tools=[recall_tool(token_counter=count_words)])
    state = agent.invoke({"messages": [*THREAD[:2], HumanMessage("Which?")]})
    assert state["messages"][-2].content == FOUND


def test_without_its_extra_the_tool_says_what_to_install() -> None:
    code = """
import sys
sys.modules["langgraph.prebuilt"] = None
from langchain_tokenbuffer import recall_tool
try:
    recall_tool(token_counter=len)
except ImportError as error:
    print(error)
"""
    assert 'pip install "langchain-tokenbuffer[agents]"' in run_script(code)
