"""The drop-in memory in the chains and memories of LangChain that take one."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    HumanMessagePromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
)
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.builders import count_content_words

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic.chains import (
        ConversationalRetrievalChain,
        ConversationChain,
        LLMChain,
    )
    from langchain_classic.memory import CombinedMemory, ReadOnlySharedMemory, SimpleMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPLIES = ["one one", "two two", "three three", "four four"]
QUESTIONS = ["q1", "q2", "q3", "q4"]


def memory_of_six_words(**options: Any) -> ConversationTokenBufferMemory:
    """Return a memory of six words: two turns of these tests."""
    return ConversationTokenBufferMemory(llm=count_content_words, max_token_limit=6, **options)


@pytest.fixture(autouse=True)
def _their_classes_are_deprecated() -> Iterator[None]:
    """Let LangChain's deprecated chains be made; every other warning is an error."""
    theirs = "ConversationChain|LLMChain|ConversationalRetrievalChain|StuffDocumentsChain"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f"The class `({theirs})`")
        yield


class Spy(FakeListLLM):
    """A model with prepared replies that keeps the prompts it got."""

    prompts: list[str] = Field(default_factory=list)

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        self.prompts.append(prompt)
        return super()._call(prompt, *args, **kwargs)

    async def _acall(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        self.prompts.append(prompt)
        return await super()._acall(prompt, *args, **kwargs)


class ChatSpy(GenericFakeChatModel):
    """A chat model with prepared replies that keeps the messages it got."""

    seen: list[list[BaseMessage]] = Field(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.seen.append(messages)
        return super()._generate(messages, *args, **kwargs)


class OneDocument(BaseRetriever):
    """A retriever that finds the same document for every question."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(page_content="the document")]


LAST_HISTORY = "Human: q2\nAI: two two\nHuman: q3\nAI: three three"
"""What six words hold when the fourth question comes."""


# --- ConversationChain ----------------------------------------------------------------------------


def test_a_conversation_chain_prompts_with_the_window() -> None:
    llm = Spy(responses=REPLIES)
    chain = ConversationChain(llm=llm, memory=memory_of_six_words())
    for question in QUESTIONS:
        chain.invoke({"input": question})
    assert f"Current conversation:\n{LAST_HISTORY}\nHuman: q4\nAI:" in llm.prompts[-1]


async def test_a_conversation_chain_prompts_with_the_window_in_async() -> None:
    llm = Spy(responses=REPLIES)
    chain = ConversationChain(llm=llm, memory=memory_of_six_words())
    for question in QUESTIONS:
        await chain.ainvoke({"input": question})
    assert f"Current conversation:\n{LAST_HISTORY}\nHuman: q4\nAI:" in llm.prompts[-1]


def test_a_conversation_chain_returns_the_window_it_prompted_with() -> None:
    chain = ConversationChain(llm=Spy(responses=REPLIES), memory=memory_of_six_words())
    answers = [chain.invoke({"input": question}) for question in QUESTIONS]
    assert answers[-1] == {"input": "q4", "history": LAST_HISTORY, "response": "four four"}


def test_a_conversation_chain_saves_each_turn_once() -> None:
    memory = memory_of_six_words()
    chain = ConversationChain(llm=Spy(responses=REPLIES), memory=memory)
    chain.invoke({"input": "q1"})
    assert memory.buffer == "Human: q1\nAI: one one"


def test_a_conversation_chain_lets_go_of_what_left_the_window() -> None:
    gone: list[BaseMessage] = []
    memory = memory_of_six_words(on_evict=gone.extend)
    chain = ConversationChain(llm=Spy(responses=REPLIES), memory=memory)
    for question in QUESTIONS:
        chain.invoke({"input": question})
    assert [message.content for message in gone] == ["q1", "one one", "q2", "two two"]


async def test_a_conversation_chain_awaits_a_coroutine_handler() -> None:
    gone: list[BaseMessage] = []

    async def archive(messages: list[BaseMessage]) -> None:
        gone.extend(messages)

    memory = memory_of_six_words(on_evict=archive)
    chain = ConversationChain(llm=Spy(responses=REPLIES), memory=memory)
    for question in QUESTIONS:
        await chain.ainvoke({"input": question})
    assert [message.content for message in gone] == ["q1", "one one", "q2", "two two"]


def test_a_conversation_chain_takes_another_memory_key() -> None:
    llm = Spy(responses=REPLIES)
    prompt = PromptTemplate.from_template("{past}|{input}")
    chain = ConversationChain(llm=llm, prompt=prompt, memory=memory_of_six_words(memory_key="past"))
    for question in QUESTIONS:
        chain.invoke({"input": question})
    assert llm.prompts[-1] == f"{LAST_HISTORY}|q4"


def test_a_conversation_chain_predicts_with_the_memory() -> None:
    llm = Spy(responses=REPLIES)
    chain = ConversationChain(llm=llm, memory=memory_of_six_words())
    assert [chain.predict(input=question) for question in QUESTIONS] == REPLIES


# --- LLMChain with a chat prompt ------------------------------------------------------------------


def _chat_chain(memory: ConversationTokenBufferMemory) -> tuple[Any, ChatSpy]:
    model = ChatSpy(messages=iter([AIMessage(reply) for reply in REPLIES]))
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "be brief"),
            MessagesPlaceholder("history"),
            HumanMessagePromptTemplate.from_template("{question}"),
        ]
    )
    return LLMChain(llm=model, prompt=prompt, memory=memory), model


LAST_MESSAGES = ["be brief", "q2", "two two", "q3", "three three", "q4"]


def test_a_chat_prompt_gets_the_window_as_messages() -> None:
    chain, model = _chat_chain(memory_of_six_words(return_messages=True))
    for question in QUESTIONS:
        chain.invoke({"question": question})
    assert [message.content for message in model.seen[-1]] == LAST_MESSAGES


async def test_a_chat_prompt_gets_the_window_as_messages_in_async() -> None:
    chain, model = _chat_chain(memory_of_six_words(return_messages=True))
    for question in QUESTIONS:
        await chain.ainvoke({"question": question})
    assert [message.content for message in model.seen[-1]] == LAST_MESSAGES


def test_the_kinds_of_a_chat_prompt_alternate() -> None:
    chain, model = _chat_chain(memory_of_six_words(return_messages=True))
    for question in QUESTIONS:
        chain.invoke({"question": question})
    kinds = [message.type for message in model.seen[-1]]
    assert kinds == ["system", "human", "ai", "human", "ai", "human"]


# --- ConversationalRetrievalChain -----------------------------------------------------------------


def _retrieving(memory: Any, llm: Spy) -> Any:
    return ConversationalRetrievalChain.from_llm(
        llm=llm,
        retriever=OneDocument(),
        memory=memory,
        condense_question_llm=FakeListLLM(responses=["condensed"]),
        return_source_documents=True,
        get_chat_history=lambda history: history,
    )


def test_a_retrieval_chain_saves_the_answer_and_not_the_documents() -> None:
    memory = memory_of_six_words(memory_key="chat_history")
    chain = _retrieving(memory, Spy(responses=REPLIES))
    chain.invoke({"question": "q1"})
    assert memory.buffer == "Human: q1\nAI: one one"


def test_a_retrieval_chain_returns_answer_and_documents() -> None:
    chain = _retrieving(memory_of_six_words(memory_key="chat_history"), Spy(responses=REPLIES))
    answer = chain.invoke({"question": "q1"})
    found = (answer["answer"], [document.page_content for document in answer["source_documents"]])
    assert found == ("one one", ["the document"])


def test_a_retrieval_chain_gets_the_window() -> None:
    chain = _retrieving(memory_of_six_words(memory_key="chat_history"), Spy(responses=REPLIES))
    answers = [chain.invoke({"question": question}) for question in QUESTIONS]
    assert answers[-1]["chat_history"] == LAST_HISTORY


async def test_a_retrieval_chain_gets_the_window_in_async() -> None:
    chain = _retrieving(memory_of_six_words(memory_key="chat_history"), Spy(responses=REPLIES))
    answers = [await chain.ainvoke({"question": question}) for question in QUESTIONS]
    assert answers[-1]["chat_history"] == LAST_HISTORY


def test_a_retrieval_chain_gets_the_window_as_messages() -> None:
    memory = memory_of_six_words(memory_key="chat_history", return_messages=True)
    chain = ConversationalRetrievalChain.from_llm(
        llm=Spy(responses=REPLIES),
        retriever=OneDocument(),
        memory=memory,
        condense_question_llm=FakeListLLM(responses=["condensed"]),
    )
    answers = [chain.invoke({"question": question}) for question in QUESTIONS]
    contents_of = [message.content for message in answers[-1]["chat_history"]]
    assert contents_of == ["q2", "two two", "q3", "three three"]


# --- CombinedMemory -------------------------------------------------------------------------------


def test_the_memory_combines_with_another_memory() -> None:
    memory = memory_of_six_words(input_key="input")
    combined = CombinedMemory(memories=[memory, SimpleMemory(memories={"place": "Seoul"})])
    combined.save_context({"input": "q1"}, {"output": "one one"})
    loaded = combined.load_memory_variables({})
    assert loaded == {"history": "Human: q1\nAI: one one", "place": "Seoul"}


def test_two_memories_combine_with_windows_of_their_own() -> None:
    short = ConversationTokenBufferMemory(
        llm=count_content_words, max_token_limit=3, input_key="input", memory_key="short"
    )
    combined = CombinedMemory(memories=[memory_of_six_words(input_key="input"), short])
    for question, reply in zip(QUESTIONS[:3], REPLIES, strict=False):
        combined.save_context({"input": question}, {"output": reply})
    assert combined.load_memory_variables({}) == {
        "history": LAST_HISTORY,
        "short": "Human: q3\nAI: three three",
    }


def test_a_combined_memory_clears_the_memory() -> None:
    memory = memory_of_six_words(input_key="input")
    combined = CombinedMemory(memories=[memory])
    combined.save_context({"input": "q1"}, {"output": "one one"})
    combined.clear()
    assert memory.buffer == ""


async def test_a_combined_memory_saves_into_the_memory_in_async() -> None:
    memory = memory_of_six_words(input_key="input")
    combined = CombinedMemory(memories=[memory])
    await combined.asave_context({"input": "q1"}, {"output": "one one"})
    assert await combined.aload_memory_variables({}) == {"history": "Human: q1\nAI: one one"}


def test_a_chain_takes_the_memory_combined() -> None:
    llm = Spy(responses=REPLIES)
    combined = CombinedMemory(
        memories=[memory_of_six_words(input_key="input"), SimpleMemory(memories={"place": "Seoul"})]
    )
    chain = ConversationChain(
        llm=llm, prompt=PromptTemplate.from_template("{place}|{history}|{input}"), memory=combined
    )
    for question in QUESTIONS:
        chain.invoke({"input": question})
    assert llm.prompts[-1] == f"Seoul|{LAST_HISTORY}|q4"


# --- ReadOnlySharedMemory -------------------------------------------------------------------------


def _shared() -> tuple[ConversationTokenBufferMemory, ReadOnlySharedMemory]:
    memory = memory_of_six_words()
    memory.save_context({"input": "q1"}, {"output": "one one"})
    return memory, ReadOnlySharedMemory(memory=memory)


def test_a_read_only_memory_shows_its_window() -> None:
    memory, shared = _shared()
    assert shared.load_memory_variables({}) == memory.load_memory_variables({})


async def test_a_read_only_memory_shows_its_window_in_async() -> None:
    memory, shared = _shared()
    assert await shared.aload_memory_variables({}) == memory.load_memory_variables({})


@pytest.mark.parametrize(
    "write",
    [
        lambda shared: shared.save_context({"input": "q2"}, {"output": "two two"}),
        lambda shared: shared.clear(),
    ],
)
def test_a_read_only_memory_changes_nothing(write: Callable[[Any], None]) -> None:
    memory, shared = _shared()
    write(shared)
    assert memory.buffer == "Human: q1\nAI: one one"


def test_a_chain_reads_the_memory_shared() -> None:
    _, shared = _shared()
    llm = Spy(responses=["summary"])
    chain = LLMChain(llm=llm, prompt=PromptTemplate.from_template("{history}|{x}"), memory=shared)
    chain.invoke({"x": "sum up"})
    assert llm.prompts == ["Human: q1\nAI: one one|sum up"]
