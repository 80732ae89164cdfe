"""`.recall` of a windowed history, and a `TokenBuffer` that asks for it in a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_tokenbuffer import TokenBuffer, TokenBufferChatMessageHistory
from langchain_tokenbuffer._recall.quotation import BEGIN, Quote, quotation
from tests.builders import count_words

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory.*")
LOCKER = "My locker at the station has the code 4711."
QUESTION = "Which code has my locker?"


class Stored(InMemoryChatMessageHistory):
    """The class itself is deprecated."""


def stored(turns: int = 20) -> Stored:
    messages: list[BaseMessage] = [HumanMessage(LOCKER), AIMessage("Noted.")]
    for n in range(turns):
        messages += [HumanMessage(f"Play banjo number {n} and sing."), AIMessage(f"Song {n} was played with joy.")]
    return Stored(messages=messages)


def view(history: BaseChatMessageHistory, max_tokens: int = 60) -> TokenBufferChatMessageHistory:
    return TokenBufferChatMessageHistory(history, max_tokens=max_tokens, token_counter=count_words)


def test_a_history_recalls_what_left_its_window() -> None:
    (document,) = view(stored()).recall(QUESTION, 40)
    assert document.page_content == LOCKER
    assert document.metadata.keys() == {"type", "message", "passage", "score"}
    assert [document.metadata[key] for key in ("type", "message", "passage")] == ["human", 0, 0]


@pytest.mark.parametrize("question", [None, {"role": "user", "content": QUESTION}])
def test_a_question_of_another_type_is_named(question: object) -> None:
    with pytest.raises(TypeError, match=r"question must be a string or a message, got (NoneType|dict)"):
        view(stored()).recall(question, 40)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["recall_tokens", "recall", "recal_tokens"])
def test_a_history_says_who_has_the_option(name: str) -> None:
    options: dict[str, Any] = {name: 40}
    with pytest.raises(TypeError, match=rf"has no option '{name}'; TokenBuffer\(..., recall_tokens=...\)"):
        TokenBufferChatMessageHistory(Stored(), max_tokens=60, token_counter=count_words, **options)


def test_what_is_in_the_window_is_not_recalled() -> None:
    assert view(stored(1)).recall(QUESTION, 40) == []


def test_a_message_can_ask() -> None:
    assert view(stored()).recall(HumanMessage(QUESTION), 40) == view(stored()).recall(QUESTION, 40)


async def test_an_async_history_recalls_the_same() -> None:
    assert await view(stored()).arecall(QUESTION, 40) == view(stored()).recall(QUESTION, 40)


@pytest.mark.parametrize("most", [15, 30, 60, 200])
def test_what_is_recalled_is_within_its_tokens_when_quoted(most: int) -> None:
    found = view(stored()).recall("banjo song locker", most)
    quoted = quotation([Quote(each.metadata["type"], each.page_content) for each in found])
    assert not found or count_words([HumanMessage(quoted)]) - count_words([HumanMessage("")]) <= most


def test_the_oldest_passage_is_first() -> None:
    places = [each.metadata["message"] for each in view(stored()).recall("banjo song", 100)]
    assert len(places) > 1
    assert places == sorted(places)


@pytest.mark.parametrize("most", [0, -1])
def test_no_tokens_are_refused(most: int) -> None:
    with pytest.raises(ValueError, match="max_tokens must be an int of at least 1"):
        view(stored()).recall(QUESTION, most)


def test_a_question_that_is_stored_takes_the_terms_of_the_one_before() -> None:
    history = stored()
    history.add_messages([HumanMessage(QUESTION), AIMessage("Hm."), HumanMessage("Really?")])
    assert LOCKER in [each.page_content for each in view(history).recall("Really?", 40)]


def test_recalling_changes_nothing() -> None:
    history = stored()
    before, shown = list(history.messages), view(history).messages
    view(history).recall(QUESTION, 40)
    assert history.messages == before
    assert view(history).messages == shown


# --- in a chain ---------------------------------------------------------------------------------


class Talk:
    """A chain over a stored history, whose model notes what it sees."""

    def __init__(self, history: BaseChatMessageHistory, max_tokens: int = 120, recall_tokens: int = 40) -> None:
        self.seen: list[list[BaseMessage]] = []
        prompt = ChatPromptTemplate.from_messages(
            [("system", "Be kind."), MessagesPlaceholder("history"), ("human", "{question}")]
        )
        buffer = TokenBuffer(max_tokens, token_counter=count_words, recall_tokens=recall_tokens)
        self.chain = RunnableWithMessageHistory(
            prompt | buffer | RunnableLambda(self._reply),
            lambda session_id: history,
            input_messages_key="question",
            history_messages_key="history",
        )

    def _reply(self, messages: Sequence[BaseMessage]) -> AIMessage:
        self.seen.append(list(messages))
        return AIMessage("I see.")

    def ask(self, question: str) -> str:
        self.chain.invoke({"question": question}, CONFIG)
        return self.seen[-1][-1].text

    async def aask(self, question: str) -> str:
        await self.chain.ainvoke({"question": question}, CONFIG)
        return self.seen[-1][-1].text


CONFIG: Any = {"configurable": {"session_id": "1"}}


def test_a_chain_quotes_what_left_the_window_of_its_history() -> None:
    assert f'"{LOCKER}"' in Talk(view(stored())).ask(QUESTION)


async def test_an_async_chain_quotes_the_same() -> None:
    assert await Talk(view(stored())).aask(QUESTION) == Talk(view(stored())).ask(QUESTION)


def test_a_chain_stores_the_question_without_its_quotation() -> None:
    history = stored()
    Talk(view(history)).ask(QUESTION)
    assert [each.text for each in history.messages[-2:]] == [QUESTION, "I see."]


def test_a_chain_quotes_what_its_own_buffer_left_out() -> None:
    assert f'"{LOCKER}"' in Talk(stored()).ask(QUESTION)


def test_what_history_and_buffer_left_out_is_quoted_together() -> None:
    history = stored(8)
    history.add_messages([HumanMessage("The locker is blue."), AIMessage("Nice.")])
    history.add_messages(stored(8).messages[2:])
    talk = Talk(view(history, 90), 60, 40)
    question = talk.ask("Which code and colour has the locker that is blue?")
    assert ["4711" in question, "blue." in question] == [True, True]


def test_a_chain_is_within_budget() -> None:
    talk = Talk(view(stored()))
    talk.ask("banjo song locker")
    assert count_words(talk.seen[-1]) <= 120


def test_a_chain_without_recall_asks_no_history() -> None:
    assert BEGIN not in Talk(view(stored()), recall_tokens=0).ask(QUESTION)
