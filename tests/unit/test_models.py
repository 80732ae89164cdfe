"""Which encoding a model counts with, whatever its name, and what is never asked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel, BaseLLM, FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import ConfigurableField
from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._counting import resolve as _resolve
from langchain_tokenbuffer._counting.providers import provider_of
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = SecretStr("unused")
TEXT = "안녕하세요, 다시 만나서 반가워요."  # costs other numbers with other encodings
SAID: list[BaseMessage] = [HumanMessage(TEXT)]


@pytest.fixture(autouse=True)
def nothing_was_warned_of() -> None:
    _resolve._warn_once.cache_clear()


def openai_model(name: Any) -> ChatOpenAI:
    model = ChatOpenAI(model="gpt-4o", api_key=KEY)
    model.model_name = name
    return model


KNOWN = {
    "gpt-4o": "o200k_base",
    "gpt-4o-2024-08-06": "o200k_base",
    "gpt-4o-mini": "o200k_base",
    "gpt-4o-search-preview": "o200k_base",
    "chatgpt-4o-latest": "o200k_base",
    "gpt-4.1-nano": "o200k_base",
    "gpt-4.5-preview": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-5.4-mini": "o200k_base",
    "o1": "o200k_base",
    "o1-preview": "o200k_base",
    "o3-mini": "o200k_base",
    "o4-mini-2025-04-16": "o200k_base",
    "codex-mini-latest": "o200k_base",
    "gpt-4": "cl100k_base",
    "gpt-4-0613": "cl100k_base",
    "gpt-4-turbo": "cl100k_base",
    "gpt-4-32k": "cl100k_base",
    "gpt-3.5-turbo": "cl100k_base",
    "gpt-35-turbo": "cl100k_base",
    "gpt-3.5-turbo-instruct": "cl100k_base",
    "davinci-002": "cl100k_base",
    "ft:gpt-4o:org::id": "o200k_base",
    "ft:gpt-4o-mini-2024-07-18:org:name:id": "o200k_base",
    "ft:gpt-3.5-turbo-0613:org::id": "cl100k_base",
    "ft:davinci-002:org::id": "cl100k_base",
    "openai/gpt-4o": "o200k_base",
    "openrouter/openai/o3": "o200k_base",
    "azure/gpt-4.1": "o200k_base",
    "GPT-4O": "o200k_base",
    "OpenAI/GPT-4": "cl100k_base",
    "my-gpt-4o-deployment": "o200k_base",
}
OPEN = {
    "gpt-oss-120b": "o200k_harmony",
    "openai/gpt-oss-20b:free": "o200k_harmony",
    "accounts/fireworks/models/gpt-oss-120b": "o200k_harmony",
    "openai.gpt-oss-120b-1:0": "o200k_harmony",
}
UNKNOWN = ["marco-o1", "minigpt-4", "o1x", "gpt-j-6b", "", None, 5]


@pytest.mark.parametrize(("name", "encoding"), KNOWN.items())
def test_a_models_name_gives_its_encoding(name: str, encoding: str) -> None:
    assert TokenCounter(openai_model(name))(SAID) == TokenCounter(encoding)(SAID)


@pytest.mark.parametrize(("name", "encoding"), [*KNOWN.items(), *OPEN.items()])
def test_what_is_used_is_described(name: str, encoding: str) -> None:
    assert encoding in TokenCounter(openai_model(name)).describe()


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_counts_with_the_fallback(name: Any) -> None:
    model = openai_model(name)
    with pytest.warns(UserWarning, match="counting with 'cl100k_base'"):
        counter = TokenCounter(model)
    assert counter(SAID) == TokenCounter("cl100k_base")(SAID)


def test_an_unknown_name_warns_once() -> None:
    model = openai_model("my-llm")
    with pytest.warns(UserWarning, match="my-llm") as warned:
        [TokenCounter(model) for _ in range(3)]
    assert len(warned) == 1


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "gemini-2.5-pro", "gpt-4o", "deepseek-chat", "qwen3"])
def test_a_row_serves_the_bare_name_and_any_class(name: str) -> None:
    bare, served = TokenCounter(name), TokenCounter(ChatOpenAI(model=name, api_key=KEY, base_url="http://localhost"))
    said = [HumanMessage(TEXT), AIMessage("", tool_calls=[{"name": "f", "args": {"n": 1}, "id": "1"}])]
    tools = [{"name": "f", "description": "Anything."}]
    assert bare.count(said, tools=tools) == served.count(said, tools=tools)


def test_a_count_without_the_models_vocabulary_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resolve, "is_installed", lambda _: False)
    assert 'pip install "langchain-tokenbuffer[claude]"' in TokenCounter("claude-sonnet-4-5").describe()


def test_an_unknown_name_is_no_counter() -> None:
    with pytest.raises(ValueError, match="neither an encoding of tiktoken nor the name of a model"):
        TokenCounter("my-llm")


def test_another_unknown_name_warns_again() -> None:
    models = [openai_model("my-llm"), openai_model("my-other-llm")]
    with pytest.warns(UserWarning, match="my-") as warned:
        [TokenCounter(model) for model in models]
    assert len(warned) == 2


def test_a_completion_model_of_unknown_name_counts_with_the_fallback() -> None:
    model = OpenAI(model="my-llm", api_key=KEY)
    with pytest.warns(UserWarning, match="my-llm"):
        counter = TokenCounter(model)
    known = OpenAI(model="gpt-3.5-turbo-instruct", api_key=KEY)
    assert counter(SAID) == TokenCounter(known)(SAID)


def test_tiktoken_model_name_wins_over_the_name() -> None:
    model = ChatOpenAI(model="gpt-4o", tiktoken_model_name="gpt-4", api_key=KEY)
    assert TokenCounter(model)(SAID) == TokenCounter("cl100k_base")(SAID)


def test_tiktoken_model_name_makes_an_unknown_name_known() -> None:
    model = ChatOpenAI(model="my-llm", tiktoken_model_name="gpt-4o", api_key=KEY)
    assert TokenCounter(model)(SAID) == TokenCounter("o200k_base")(SAID)


def test_tiktoken_model_name_wins_with_a_completion_model() -> None:
    model = OpenAI(model="gpt-3.5-turbo-instruct", tiktoken_model_name="gpt-4o", api_key=KEY)
    assert TokenCounter(model)(SAID) == model.get_num_tokens_from_messages(SAID)


def azure(**fields: Any) -> AzureChatOpenAI:
    return AzureChatOpenAI(azure_endpoint="https://unused", api_version="1", api_key=KEY, **fields)


AZURE: dict[str, tuple[dict[str, Any], str]] = {
    "the model is named": (
        {"azure_deployment": "prod-7", "model": "gpt-4o"},
        "o200k_base",
    ),
    "the deployment shows the model": ({"azure_deployment": "gpt-4o"}, "o200k_base"),
    "the deployment shows another version": ({"azure_deployment": "gpt-35-turbo"}, "cl100k_base"),
    "the name is the deployment's": (
        {"azure_deployment": "gpt-4o-eu", "model": "mine"},
        "o200k_base",
    ),
}


@pytest.mark.parametrize(("fields", "encoding"), AZURE.values(), ids=AZURE)
def test_an_azure_deployment_counts_as_the_model_behind_it(fields: dict[str, Any], encoding: str) -> None:
    assert TokenCounter(azure(**fields))(SAID) == TokenCounter(encoding)(SAID)


def test_an_azure_deployment_of_unknown_model_counts_with_one_warning() -> None:
    model = azure(azure_deployment="prod-7")
    with pytest.warns(UserWarning, match="prod-7"):
        counter = TokenCounter(model)
    assert counter(SAID) == TokenCounter("cl100k_base")(SAID)


def test_the_first_chat_model_counts_four_a_message() -> None:
    model = openai_model("gpt-3.5-turbo-0301")
    said = [HumanMessage("Hi", name="Ann"), AIMessage("Hello.")]
    assert TokenCounter(model)(said) == model.get_num_tokens_from_messages(said)


# --- models that count themselves -----------------------------------------------------------------


class Chat(BaseChatModel):
    """A chat model of a provider's own."""

    @property
    def _llm_type(self) -> str:
        return "chat"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello."))])


class CountsMessages(Chat):
    """A chat model whose own counting is remembered to have been asked."""

    asked: int = 0

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        self.asked += 1
        return 10 + 7 * len(messages) + 100 * len(tools or ())


class CountsTexts(Chat):
    """A chat model that counts texts itself."""

    asked: int = 0

    def get_num_tokens(self, text: str) -> int:
        self.asked += 1
        return len(text)


def of(package: str, base: type[Chat]) -> Any:
    """Return a model as if its class were that package's."""
    kind = type("ChatRemote", (base,), {"__module__": f"{package}.chat_models", **vars_of(base)})
    return kind()


def vars_of(base: type) -> dict[str, Any]:
    methods = ("get_num_tokens_from_messages", "get_num_tokens")
    return {name: vars(base)[name] for name in methods if name in vars(base)}


REMOTE = ["langchain_anthropic", "langchain_google_genai", "langchain_google_vertexai"]
REMOTE += ["langchain_aws", "langchain_cohere"]


def test_a_models_own_counting_of_messages_is_asked() -> None:
    assert TokenCounter(CountsMessages())([*SAID, *SAID]) == 24


def test_a_models_own_counting_of_messages_is_found_additive() -> None:
    assert message_counter(TokenCounter(CountsMessages())).constant == 10


def test_a_models_own_counting_of_texts_is_asked() -> None:
    assert TokenCounter(CountsTexts())(SAID) == len("Human: " + TEXT)


def test_an_override_of_a_users_own_is_asked() -> None:
    class Mine(ChatOpenAI):
        def get_num_tokens_from_messages(self, messages: Any, *args: Any, **kwargs: Any) -> int:
            return 5 * len(messages)

    assert TokenCounter(Mine(model="gpt-4o", api_key=KEY))(SAID) == 5


@pytest.mark.parametrize("base", [CountsMessages, CountsTexts])
@pytest.mark.parametrize("package", REMOTE)
def test_a_remote_counter_is_not_asked(package: str, base: type[Chat]) -> None:
    model = of(package, base)
    TokenCounter(model)(SAID)
    assert model.asked == 0


@pytest.mark.parametrize("base", [CountsMessages, CountsTexts])
@pytest.mark.parametrize("package", REMOTE)
def test_a_subclass_of_a_remote_model_is_not_asked(package: str, base: type[Chat]) -> None:
    model = type("Mine", (type(of(package, base)),), {"__module__": __name__})()
    TokenCounter(model)(SAID)
    assert model.asked == 0


def test_a_local_count_of_a_users_own_over_a_remote_model_is_asked() -> None:
    class Mine(type(of("langchain_anthropic", CountsMessages))):  # type: ignore[misc]
        def get_num_tokens_from_messages(self, messages: Any, *args: Any, **kwargs: Any) -> int:
            return 5 * len(messages)

    assert TokenCounter(Mine())(SAID) == 5


@pytest.mark.parametrize("package", REMOTE)
def test_a_remote_model_is_estimated_without_a_warning(package: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not message_counter(TokenCounter(of(package, Chat))).exact


def test_a_remote_counter_that_is_asked_for_is_asked_once_a_count() -> None:
    model = of("langchain_anthropic", CountsMessages)
    counter = TokenCounter(model, exact="remote")
    counter([*SAID, *SAID])
    assert model.asked == 1


def test_a_remote_counter_that_is_asked_for_is_what_counts() -> None:
    counter = TokenCounter(of("langchain_anthropic", CountsMessages), exact="remote")
    assert counter([*SAID, *SAID]) == 24


def test_a_model_with_configurable_fields_counts_as_the_model() -> None:
    model = ChatOpenAI(model="gpt-4", api_key=KEY)
    chosen = model.configurable_fields(temperature=ConfigurableField(id="warm"))
    assert TokenCounter(chosen).describe() == TokenCounter(model).describe()


def test_a_remote_counter_that_is_asked_for_counts_no_tools_where_there_are_none() -> None:
    counter = TokenCounter(of("langchain_anthropic", CountsMessages), exact="remote")
    assert counter.count(SAID) == counter(SAID)


def test_a_remote_counter_that_is_asked_for_counts_the_tools() -> None:
    counter = TokenCounter(of("langchain_anthropic", CountsMessages), exact="remote")
    assert counter.count(SAID, tools=[{"name": "a", "description": "b"}]) == 117


def test_a_remote_counter_of_texts_that_is_asked_for_is_what_counts() -> None:
    counter = TokenCounter(of("langchain_google_genai", CountsTexts), exact="remote")
    assert counter(SAID) == len("Human: " + TEXT)


@pytest.mark.parametrize(
    "model",
    [FakeListChatModel(responses=["a"]), FakeListLLM(responses=["a"]), Chat()],
    ids=["chat", "llm", "own"],
)
def test_a_model_without_a_tokenizer_loads_none_from_a_hub(
    model: BaseChatModel | BaseLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded() -> None:
        msg = "a tokenizer was loaded from a hub"
        raise AssertionError(msg)

    monkeypatch.setattr("langchain_core.language_models.base.get_tokenizer", loaded)
    with pytest.warns(UserWarning, match="no tokenizer of its own"):
        counter = TokenCounter(model)
    assert counter(SAID) >= TokenCounter("cl100k_base")(SAID)


def test_a_model_without_a_tokenizer_warns_once() -> None:
    with pytest.warns(UserWarning, match="Chat has no tokenizer of its own") as warned:
        [TokenCounter(Chat()) for _ in range(3)]
    assert len(warned) == 1


def test_an_estimate_says_that_it_is_one() -> None:
    assert "estimate" in TokenCounter(of("langchain_anthropic", CountsMessages)).describe()


def test_an_exact_count_says_that_it_is_one() -> None:
    assert "exact" in TokenCounter(openai_model("gpt-4o")).describe()


def test_a_count_under_an_unknown_name_says_that_it_is_an_estimate() -> None:
    model = openai_model("my-llm")
    with pytest.warns(UserWarning, match="my-llm"):
        counter = TokenCounter(model)
    assert "estimated" in counter.describe()


# --- what a model is called, and whose it is ------------------------------------------------------


class Bedrock(Chat):
    """A chat model behind an inference profile, which hides what it is."""

    model_id: str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    base_model_id: str = "anthropic.claude-sonnet-4-20250514-v1:0"


SMALL = ChatOpenAI(model="gpt-4", api_key=KEY)
LARGE = ChatOpenAI(model="gpt-4o", api_key=KEY)


def test_the_base_model_wins_over_an_inference_profile() -> None:
    assert _resolve.model_name(Bedrock()) == Bedrock().base_model_id


def test_replies_report_under_the_name_a_model_is_asked_for_by() -> None:
    assert _resolve.served_name(Bedrock()) == Bedrock().model_id


def test_a_base_model_shows_its_provider() -> None:
    assert provider_of(Bedrock()).name == "anthropic"


def test_every_fallback_is_found_through_bound_options() -> None:
    model = LARGE.bind(stop=["x"]).with_fallbacks([SMALL.bind(stop=["y"])]).bind(stop=["z"])
    assert _resolve.fallback_models(model) == [LARGE, SMALL]


def test_the_first_of_several_fallbacks_counts() -> None:
    model = LARGE.bind(stop=["x"]).with_fallbacks([SMALL])
    assert _resolve.unwrapped(model) is LARGE


OF = {
    "claude-sonnet-4-5": "anthropic",
    "us.anthropic.claude-3-7-sonnet-v1:0": "anthropic",
    "gemini-2.5-pro": "google",
    "gpt-4o": "openai",
    "qwen3": "qwen",
    "my-llm": "open models",
}


@pytest.mark.parametrize(("name", "provider"), OF.items())
def test_a_models_name_shows_its_provider(name: str, provider: str) -> None:
    assert provider_of(name).name == provider


# --- formats, as they were fitted -----------------------------------------------------------------

TOOLS = [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {}}}]
ASKED: list[BaseMessage] = [SystemMessage("Be short."), HumanMessage("Hi")]
CALLS = [{"name": "look", "args": {"at": "it"}, "id": "1"}, {"name": "look", "args": {"at": "me"}, "id": "2"}]


def chat(name: str, *, responses: bool = False) -> ChatOpenAI:
    return ChatOpenAI(model=name, api_key=KEY, use_responses_api=responses)


@pytest.mark.parametrize(("name", "less"), [("gpt-4o", 2), ("gpt-5", 82)])
def test_tools_take_less_in_the_responses_api(name: str, less: int) -> None:
    in_chat, in_responses = TokenCounter(chat(name)), TokenCounter(chat(name, responses=True))
    assert in_chat.count(ASKED, tools=TOOLS) - in_responses.count(ASKED, tools=TOOLS) == less


def test_a_tool_that_openai_runs_makes_the_request_one_of_the_responses_api() -> None:
    model = ChatOpenAI(model="gpt-5", api_key=KEY)
    plain, searching = TokenCounter(model), TokenCounter(model.bind_tools([{"type": "web_search"}]))
    assert plain.count(ASKED, tools=TOOLS) - searching.count(ASKED, tools=TOOLS) == 82


@pytest.mark.parametrize(("name", "more"), [("gpt-4o", 0), ("o3", 0), ("gpt-5", 2), ("gpt-5.5", 2)])
def test_a_reply_takes_two_more_from_gpt_5_on(name: str, more: int) -> None:
    counter = message_counter(TokenCounter(chat(name)))
    reply, question = counter.tokens([AIMessage("Yes."), HumanMessage("Yes.")])
    assert reply - question == more


@pytest.mark.parametrize("responses", [False, True])
def test_text_beside_a_call_is_a_message_of_its_own_from_gpt_5_on(responses: bool) -> None:  # noqa: FBT001
    counter = message_counter(TokenCounter(chat("gpt-5", responses=responses)))
    alone, with_text = counter.tokens([AIMessage("", tool_calls=CALLS[:1]), AIMessage("Yes", tool_calls=CALLS[:1])])
    assert with_text - alone == 1 + 7


@pytest.mark.parametrize(("responses", "apart"), [(False, 11), (True, 14)])
def test_a_further_call_is_a_message_of_its_own_from_gpt_5_on(responses: bool, apart: int) -> None:  # noqa: FBT001
    counter = message_counter(TokenCounter(chat("gpt-5", responses=responses)))
    one, other, both = counter.tokens([AIMessage("", tool_calls=calls) for calls in (CALLS[:1], CALLS[1:], CALLS)])
    assert both - one == other - 4 + apart


THING = {"title": "thing", "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(("responses", "more"), [(False, 4), (True, 0)])
def test_a_response_format_takes_more_with_each_reply_in_chat(responses: bool, more: int) -> None:  # noqa: FBT001
    counter = TokenCounter(chat("gpt-4o", responses=responses))
    replied = [*ASKED, AIMessage("Yes.")]
    first, second = (counter.count(each, response_format=THING) - counter.count(each) for each in (ASKED, replied))
    assert second - first == more


GENERATIONS = {
    "claude-3-opus-20240229": 530,
    "anthropic.claude-3-haiku-20240307-v1:0": 258,
    "claude-3-5-sonnet-latest": 286,
    "claude-3-7-sonnet-20250219": 308,
    "claude-sonnet-4-20250514": 308,
    "claude-opus-4-1": 308,
    "claude-haiku-4-5-20251001": 491,
    "anthropic/claude-sonnet-4.6": 491,
    "us.anthropic.claude-opus-4-7": 491,
    "claude-opus-4-8": 330,
    "anthropic/claude-opus-5": 330,
    "us.anthropic.claude-sonnet-5": 330,
}


@pytest.mark.parametrize(("name", "tokens"), GENERATIONS.items())
def test_claudes_prompt_for_tools_depends_on_its_generation(name: str, tokens: int) -> None:
    assert provider_of(name).family_of(name).chat.tools == tokens


EDITIONS = {"claude-sonnet-4-6": "3.0", "claude-3-5-sonnet-20241022": "3.0", "claude-opus-4.7": "4.7"}
EDITIONS |= {"claude-opus-4-8": "4.8", "claude-fable-5": "4.8", "claude-haiku-5-1": "4.8"}


@pytest.mark.parametrize(("name", "edition"), EDITIONS.items())
def test_claudes_vocabulary_depends_on_its_generation(name: str, edition: str) -> None:
    own = provider_of(name).family_of(name).vocabulary.own
    assert own is not None
    assert own.edition == edition


def test_a_bound_tool_choice_takes_what_claude_is_billed_for_it() -> None:
    model = of("langchain_anthropic", Chat)
    free, forced = TokenCounter(model), TokenCounter(model.bind(tool_choice={"type": "any"}))
    assert forced.count(ASKED, tools=TOOLS) - free.count(ASKED, tools=TOOLS) == 94


def test_bound_thinking_takes_what_claude_is_billed_for_it() -> None:
    model = of("langchain_anthropic", Chat)
    thinking = model.bind(thinking={"type": "enabled", "budget_tokens": 1024})
    assert TokenCounter(thinking).count(ASKED) - TokenCounter(model).count(ASKED) == 29


# What a reply thought and sends again, in the shapes that the providers' classes keep it in.
THOUGHT = {
    "claude": AIMessage([{"type": "thinking", "thinking": "Short.", "signature": "c2lnbmF0dXJl"}, "Yes."]),
    "openai": AIMessage([{"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABo" * 80}, "Yes."]),
    "open": AIMessage("Yes.", additional_kwargs={"reasoning_content": "They want it short."}),
}
FORGETTING = {"claude-sonnet-4-5": "claude", "claude-3-7-sonnet": "claude", "gpt-5-mini": "openai", "o3": "openai"}
FORGETTING |= {"gpt-oss-120b": "open", "qwen3": "open"}
KEEPING = {"claude-sonnet-4-6": "claude", "claude-opus-4-5": "claude", "gpt-5.6": "openai", "deepseek-chat": "open"}
CALLED = [{"name": "look", "args": {}, "id": "1"}]


def thinker(name: str) -> TokenCounter:
    """Count as the class does that is asked for thinking."""
    is_openais = name.startswith("gpt-5") or name == "o3"
    return TokenCounter(chat(name, responses=True) if is_openais else name)


def thought(kind: str, *behind: BaseMessage) -> tuple[list[BaseMessage], list[BaseMessage]]:
    """Return a conversation whose first reply thought, and the same without its thinking."""
    return [*ASKED, THOUGHT[kind], *behind], [*ASKED, AIMessage("Yes."), *behind]


@pytest.mark.parametrize(("name", "kind"), FORGETTING.items())
def test_what_an_earlier_turn_thought_costs_nothing_where_it_is_not_billed(name: str, kind: str) -> None:
    with_thinking, without = thought(kind, HumanMessage("Why?"))
    set_to_think = 29 if kind == "claude" else 0
    assert thinker(name).count(with_thinking) == thinker(name).count(without) + set_to_think


@pytest.mark.parametrize(("name", "kind"), KEEPING.items())
def test_what_an_earlier_turn_thought_costs_tokens_where_it_is_billed(name: str, kind: str) -> None:
    with_thinking, without = thought(kind, HumanMessage("Why?"))
    assert thinker(name).count(with_thinking) > thinker(name).count(without)


@pytest.mark.parametrize(("name", "kind"), [*FORGETTING.items(), *KEEPING.items()])
def test_what_the_running_turn_thought_costs_tokens(name: str, kind: str) -> None:
    call, result = AIMessage("", tool_calls=CALLED), ToolMessage("It.", tool_call_id="1")
    with_thinking, without = thought(kind, call, result)
    assert thinker(name).count(with_thinking) > thinker(name).count(without)


@pytest.mark.parametrize(("name", "kind"), FORGETTING.items())
def test_a_window_counts_earlier_thinking_to_no_less_than_the_whole(name: str, kind: str) -> None:
    with_thinking, _ = thought(kind, HumanMessage("Why?"))
    counter = thinker(name)
    added = counter.count(ASKED) - counter(ASKED)
    assert counter.count(with_thinking) - added <= counter(with_thinking)


class Claude(Chat):
    """A Claude that is asked through Bedrock."""

    model: str = "claude-sonnet-4-5"
    additional_model_request_fields: dict[str, Any] | None = None


@pytest.mark.parametrize("name", ["thinking", "reasoning_config"])
def test_bedrock_may_pass_on_that_claude_is_set_to_think(name: str) -> None:
    thinking = Claude(additional_model_request_fields={name: {"type": "enabled", "budget_tokens": 1024}})
    assert TokenCounter(thinking).count(ASKED) - TokenCounter(Claude()).count(ASKED) == 29


BEHIND: dict[str, list[BaseMessage]] = {
    "in the running turn": [AIMessage("", tool_calls=CALLED), ToolMessage("It.", tool_call_id="1")],
    "in an earlier turn": [HumanMessage("Why?")],
    "twice in the running turn": [
        AIMessage(THOUGHT["claude"].content, tool_calls=CALLED),
        ToolMessage("It.", tool_call_id="1"),
    ],
    "in both": [HumanMessage("Why?"), THOUGHT["claude"]],
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_thinking_in_the_history_means_that_claude_is_set_to_think(behind: list[BaseMessage]) -> None:
    messages, _ = thought("claude", *behind)
    thinking = Claude().bind(thinking={"type": "enabled", "budget_tokens": 1024})
    assert TokenCounter(Claude()).count(messages) == TokenCounter(thinking).count(messages)


def test_o1_mini_takes_four_more_a_message() -> None:
    said = [HumanMessage("Hi"), HumanMessage("Hi")]
    assert TokenCounter("o1-mini").count(said) == TokenCounter("o1").count(said) + 8


def test_a_reply_that_was_begun_takes_no_turn_of_claudes() -> None:
    counter = TokenCounter("claude-sonnet-4-5")
    assert counter.count([*ASKED, AIMessage("Yes")]) == counter([*ASKED, AIMessage("Yes")]) - 3


SOURCE = {"type": "text", "media_type": "text/plain", "data": "x"}
DOCUMENT = {"type": "document", "source": SOURCE}
CITED = {**DOCUMENT, "citations": {"enabled": True}}


@pytest.mark.parametrize(("block", "tokens"), [(DOCUMENT, 45), (CITED, 575)], ids=["document", "cited"])
def test_a_document_of_claudes_takes_more_than_its_text(block: Any, tokens: int) -> None:
    counter = message_counter(TokenCounter("claude-sonnet-4-5"))
    text, document = counter.tokens([HumanMessage([{"type": "text", "text": "x"}]), HumanMessage([block])])
    assert document - text == tokens


def test_a_result_may_hold_what_is_cited() -> None:
    counter = message_counter(TokenCounter("claude-sonnet-4-5"))
    results = [{"type": "tool_result", "tool_use_id": "1", "content": [each]} for each in (DOCUMENT, CITED)]
    plain, cited = counter.tokens([HumanMessage([result]) for result in results])
    assert cited - plain >= 530
