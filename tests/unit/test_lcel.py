"""`prompt | TokenBuffer(...) | model`: a step of a chain like any other."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from pydantic import Field, PrivateAttr

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer
from tests.builders import chat, count_words

if TYPE_CHECKING:
    from langchain_core.outputs import ChatResult
    from langchain_core.runnables import Runnable

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Be kind."), MessagesPlaceholder("history"), ("human", "{question}")]
)
HISTORY = chat(20)


class Echo(FakeListChatModel):
    """A chat model that remembers what it was shown and answers "So be it."."""

    responses: list[str] = Field(default_factory=lambda: ["So be it."])
    _seen: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def seen(self) -> list[list[BaseMessage]]:
        return self._seen

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self._seen.append(messages)
        return super()._generate(messages, *args, **kwargs)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self._seen.append(messages)
        return super()._stream(messages, *args, **kwargs)

    def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self._seen.append(messages)
        return super()._astream(messages, *args, **kwargs)


def buffer(**settings: Any) -> TokenBuffer:
    return TokenBuffer(**{"max_tokens": 40, "token_counter": count_words, **settings})


def prompt_input(question: str = "And now?") -> dict[str, Any]:
    return {"history": HISTORY, "question": question}


def expected_window(question: str = "And now?") -> list[BaseMessage]:
    return buffer().trim(PROMPT.invoke(prompt_input(question)))


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
def chain(model: Echo) -> Runnable[Any, Any]:
    return PROMPT | buffer() | model


# --- every way to call a chain ------------------------------------------------------------------


def test_the_window_is_smaller_than_what_the_prompt_makes() -> None:
    assert len(expected_window()) < len(HISTORY)


def test_invoke_shows_the_model_the_window(chain: Runnable[Any, Any], model: Echo) -> None:
    chain.invoke(prompt_input())
    assert model.seen == [expected_window()]


async def test_ainvoke_shows_the_model_the_window(chain: Runnable[Any, Any], model: Echo) -> None:
    await chain.ainvoke(prompt_input())
    assert model.seen == [expected_window()]


def test_batch_shows_each_call_its_window(chain: Runnable[Any, Any], model: Echo) -> None:
    questions = [f"And {n}?" for n in range(8)]
    chain.batch([prompt_input(question) for question in questions])
    shown = {messages[-1].text: messages for messages in model.seen}
    assert shown == {question: expected_window(question) for question in questions}


async def test_abatch_shows_each_call_its_window(chain: Runnable[Any, Any], model: Echo) -> None:
    questions = [f"And {n}?" for n in range(8)]
    await chain.abatch([prompt_input(question) for question in questions])
    shown = {messages[-1].text: messages for messages in model.seen}
    assert shown == {question: expected_window(question) for question in questions}


def test_stream_shows_the_model_the_window_and_passes_its_chunks_on(chain: Runnable[Any, Any], model: Echo) -> None:
    chunks = [chunk.text for chunk in chain.stream(prompt_input())]
    assert (model.seen, chunks) == ([expected_window()], list("So be it."))


async def test_astream_shows_the_model_the_window_and_passes_its_chunks_on(
    chain: Runnable[Any, Any], model: Echo
) -> None:
    chunks = [chunk.text async for chunk in chain.astream(prompt_input())]
    assert (model.seen, chunks) == ([expected_window()], list("So be it."))


def test_streaming_the_buffer_itself_gives_the_window_in_one_piece() -> None:
    assert list(buffer().stream(HISTORY)) == [buffer().trim(HISTORY)]


async def test_batch_as_completed_gives_every_window() -> None:
    done = [result async for result in buffer().abatch_as_completed([chat(3), chat(20)])]
    assert sorted(done, key=lambda pair: pair[0]) == [
        (0, buffer().trim(chat(3))),
        (1, buffer().trim(chat(20))),
    ]


@pytest.mark.parametrize("call", ["invoke", "stream", "batch"])
def test_what_does_not_fit_is_an_error_of_the_chain(model: Echo, call: str) -> None:
    chain = PROMPT | buffer(oversize="raise") | model
    given = prompt_input("word " * 100)
    with pytest.raises(TokenBudgetError):
        list(getattr(chain, call)([given] if call == "batch" else given))


async def test_what_does_not_fit_is_an_error_of_the_async_chain(model: Echo) -> None:
    chain = PROMPT | buffer(oversize="raise") | model
    with pytest.raises(TokenBudgetError):
        await chain.ainvoke(prompt_input("word " * 100))


def test_batch_can_return_what_does_not_fit() -> None:
    results = buffer(oversize="raise").batch(["Hi", "word " * 100], return_exceptions=True)
    assert isinstance(results[0], list)
    assert isinstance(results[1], TokenBudgetError)


# --- what a chain hands in ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([("human", "Hi")], id="pairs"),
        pytest.param([{"role": "user", "content": "Hi"}], id="dicts"),
        pytest.param("Hi", id="str"),
        pytest.param(HumanMessage("Hi"), id="message"),
        pytest.param(ChatPromptTemplate.from_messages([("human", "Hi")]).invoke({}), id="prompt"),
    ],
)
def test_a_chain_may_begin_with_the_buffer(model: Echo, given: Any) -> None:
    (buffer() | model).invoke(given)
    assert model.seen == [[HumanMessage("Hi")]]


def test_a_state_is_refused_and_the_key_to_pass_is_named(model: Echo) -> None:
    with pytest.raises(TypeError, match=r"itemgetter\('messages'\)"):
        (buffer() | model).invoke({"messages": HISTORY})


def test_what_the_refusal_proposes_works(model: Echo) -> None:
    chain = itemgetter("messages") | buffer() | model
    chain.invoke({"messages": HISTORY})
    assert model.seen == [buffer().trim(HISTORY)]


def test_inside_an_assign_the_history_alone_is_trimmed(model: Echo) -> None:
    trimmed = RunnablePassthrough.assign(history=itemgetter("history") | buffer())
    (trimmed | PROMPT | model).invoke(prompt_input())
    want = [SystemMessage("Be kind."), *buffer().trim(HISTORY), HumanMessage("And now?")]
    assert model.seen == [want]


async def test_inside_an_assign_the_history_is_trimmed_async_too(model: Echo) -> None:
    trimmed = RunnablePassthrough.assign(history=itemgetter("history") | buffer())
    await (trimmed | PROMPT | model).ainvoke(prompt_input())
    want = [SystemMessage("Be kind."), *buffer().trim(HISTORY), HumanMessage("And now?")]
    assert model.seen == [want]


def test_an_assign_streams() -> None:
    trimmed = RunnablePassthrough.assign(history=itemgetter("history") | buffer())
    *_, last = trimmed.stream(prompt_input())
    assert last == {"history": buffer().trim(HISTORY)}


def test_a_function_may_stand_before_and_behind_the_buffer() -> None:
    chain: Runnable[int, int] = RunnableLambda(chat) | buffer() | len
    assert chain.invoke(20) == len(buffer().trim(chat(20)))


def test_a_generating_model_gets_the_window() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("So.")]))
    assert (PROMPT | buffer() | model).invoke(prompt_input()).text == "So."


# --- what LangChain asks of a step --------------------------------------------------------------


def test_the_graph_of_a_chain_names_the_buffer(chain: Runnable[Any, Any]) -> None:
    assert "TokenBuffer" in [node.name for node in chain.get_graph().nodes.values()]


@pytest.mark.parametrize("schema", ["get_input_jsonschema", "get_output_jsonschema"])
def test_the_buffer_has_json_schemas(schema: str) -> None:
    assert isinstance(getattr(buffer(), schema)(), dict)


@pytest.mark.parametrize("schema", ["get_input_schema", "get_output_schema"])
def test_the_buffer_has_schemas(schema: str) -> None:
    assert getattr(buffer(), schema)().model_json_schema()


def test_the_input_of_a_chain_is_the_prompts(chain: Runnable[Any, Any]) -> None:
    assert set(chain.get_input_jsonschema()["properties"]) == {"history", "question"}


class Callbacks(BaseCallbackHandler):
    """Keeps what a run reports to its callbacks."""

    def __init__(self) -> None:
        self.starts: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.starts.append(kwargs)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


def test_tags_metadata_and_name_reach_the_callbacks() -> None:
    callbacks = Callbacks()
    buffer().invoke(
        HISTORY,
        {"callbacks": [callbacks], "tags": ["a"], "metadata": {"b": 1}, "run_name": "window"},
    )
    (start,) = callbacks.starts
    assert (start["tags"], start["metadata"]["b"], start["name"]) == (["a"], 1, "window")


async def test_the_async_run_reaches_the_callbacks_too() -> None:
    callbacks = Callbacks()
    await buffer().ainvoke(HISTORY, {"callbacks": [callbacks], "run_name": "window"})
    assert [start["name"] for start in callbacks.starts] == ["window"]


def test_a_run_in_a_chain_is_traced_under_its_own_name(chain: Runnable[Any, Any]) -> None:
    callbacks = Callbacks()
    chain.invoke(prompt_input(), {"callbacks": [callbacks]})
    assert "TokenBuffer" in [start["name"] for start in callbacks.starts]


def test_an_error_reaches_the_callbacks() -> None:
    callbacks = Callbacks()
    with pytest.raises(TokenBudgetError):
        buffer(oversize="raise").invoke("word " * 100, {"callbacks": [callbacks]})
    assert [isinstance(error, TokenBudgetError) for error in callbacks.errors] == [True]


async def test_events_of_the_buffer_carry_the_window() -> None:
    events = [event async for event in buffer().astream_events(HISTORY, version="v2")]
    (end,) = [event for event in events if event["event"] == "on_chain_end"]
    assert end["data"]["output"] == buffer().trim(HISTORY)


def test_with_config_and_with_retry_wrap_the_buffer() -> None:
    wrapped = buffer().with_config(tags=["a"]).with_retry(stop_after_attempt=2)
    assert wrapped.invoke(HISTORY) == buffer().trim(HISTORY)


def test_a_fallback_takes_over_where_the_messages_do_not_fit() -> None:
    chain = buffer(oversize="raise").with_fallbacks([buffer(oversize="clamp")])
    assert len(chain.invoke("word " * 100)) == 1
