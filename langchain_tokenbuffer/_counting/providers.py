"""What is known of each provider, one row each: adding a provider is adding a row.

A model is recognised by its name, else by the package of its class or the address it is asked at, so that no provider's
package is imported. The same row serves the provider's own class, any class that asks an OpenAI-compatible address for
a model of that name, and the bare name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from langchain_tokenbuffer._counting import claude_families as claude
from langchain_tokenbuffer._counting import open_families as known
from langchain_tokenbuffer._counting import openai_families as openai
from langchain_tokenbuffer._counting.estimates import Estimate
from langchain_tokenbuffer._counting.families import ChatFormat, Family, Vocabulary
from langchain_tokenbuffer._counting.images import Patches, Tiles
from langchain_tokenbuffer._counting.tools import as_json


@dataclass(frozen=True)
class Provider:
    """What is known of one provider."""

    name: str
    models: str | None = None  # a pattern of its models' names, lower case
    places: str | None = None  # a pattern of the packages and addresses where any model is its own, lower case
    remote_package: str | None = None  # how the packages begin in which a model's own counting asks the provider
    # Its models by a pattern of "name place", lower case; the first that matches counts. The last matches all.
    families: tuple[tuple[str, Family], ...] = (("", Family()),)
    # What a token costs that the prompt cache serves, and one that goes into it, as shares of the input's price.
    cache_prices: tuple[float, float] | None = None
    profile: tuple[str, str] | None = None  # the package and class that know how many tokens its models take
    # Whether thinking is only valid behind the very messages it was thought behind, so that it leaves when they do;
    # and a pattern of the models' names, lower case, that refuse a request where it is not.
    binds_thinking: bool = False
    checks_thinking: str | None = None

    def family_of(self, name: str, place: str = "") -> Family:
        """Return what is known of one of its models, by its name and where it is served."""
        text = f"{name} {place}".lower()
        return next(family for pattern, family in self.families if re.search(pattern, text))


_UNKNOWN = ChatFormat(parallel=False, tools_text=as_json)
"""Each call as a message of its own, tools as JSON: what rounds up."""


# "o1" and the like mean OpenAI's only where the name begins: marco-o1 is another's
_O = r"(?:^|[/:.])o[1-9](?![a-z0-9])"

OPENAI = Provider(
    name="openai",
    models=r"gpt-oss|(?<![a-z])gpt-(?:3\.?5|[4-9])|chatgpt|codex-mini|(?:davinci|babbage)-002|" + _O,
    places=r"^(?:langchain_openai\S* ?)+$|openai\.com|azure",
    families=(
        (r"gpt-oss", known.GPT_OSS),
        (r"gpt-3\.5-turbo-0301", openai.GPT_3_5_0301),
        (r"(?<![a-z])gpt-3\.?5", openai.GPT_3_5),
        (r"gpt-4o-mini", openai.seeing(openai.GPT_4O, Tiles(2833, 5667))),
        (r"gpt-4\.1-mini", openai.seeing(openai.GPT_4O, Patches(1.62))),
        (r"gpt-4\.1-nano", openai.seeing(openai.GPT_4O, Patches(2.46))),
        (r"gpt-(?:4o|4\.[15])|chatgpt", openai.GPT_4O),
        (r"o4-mini|codex-mini", openai.seeing(openai.REASONING, Patches(1.72))),
        (r"o1-mini", openai.O1_MINI),
        *((rf"(?:{pattern}).* .*openrouter", openai.at_openrouter(family)) for pattern, family in openai.GENERATIONS),
        *openai.GENERATIONS,
        (_O, openai.REASONING),
        (r"(?<![a-z])gpt-4|(?:davinci|babbage)-002", openai.GPT_4),
        # A deployment or a fine-tuned model whose name says nothing, most often OpenAI's own.
        ("", Family(Vocabulary(estimate=Estimate(1.0)))),
    ),
    cache_prices=(0.1, 1.0),
    profile=("langchain_openai", "ChatOpenAI"),
)

OPEN_MODELS = Provider(
    name="open models",
    families=(("", Family(chat=replace(_UNKNOWN, constant=5, per_message=4, tools=95))),),
)
"""What no other row recognises: a model that some server has, or a tokenizer object without a chat template. The format
is the dearest of ChatML (Qwen, SmolLM), Llama 3's and Gemma's: all put four tokens beside the role around a message,
and open a conversation with at most five. Tools bring 80 to 95 tokens in five requests to models that have no row."""


PROVIDERS = (
    Provider(
        name="anthropic",
        models=r"claude",
        places=r"anthropic",
        remote_package="langchain_anthropic",
        families=(
            *(
                (rf"(?:{pattern}).* .*langchain_openai", claude.behind_openais_api(family))
                for pattern, family in claude.GENERATIONS
            ),
            *claude.GENERATIONS,
        ),
        cache_prices=(0.1, 1.25),
        profile=("langchain_anthropic", "ChatAnthropic"),
        binds_thinking=True,
        # platform.claude.com/docs/en/build-with-claude/preserved-thinking: from 5.1 on
        checks_thinking=r"claude-[a-z]+-(?:5[-.][1-9]|[6-9]|[1-9]\d)(?!\d)",
    ),
    Provider(
        name="google",
        models=r"gemini",
        places=r"langchain_google|googleapis\.com",
        remote_package="langchain_google",
        families=((r"gemini-(?:1|2\.0)", known.GEMINI_2), (r"gemini-2", known.GEMINI_2_5), ("", known.GEMINI_3)),
    ),
    Provider(
        name="mistral",
        models=r"(?:mi|mini|code|magi|dev|vox|pix|mix)s?tral",
        places=r"mistral",
        families=(("mistral-small", known.MISTRAL_SMALL), ("", known.MISTRAL_LARGE)),
    ),
    Provider(
        name="deepseek",
        models=r"deepseek(?!\S*distill)",
        places=r"deepseek",
        families=(("v4", known.DEEPSEEK_V4), ("", known.DEEPSEEK_V3)),
    ),
    Provider(
        name="xai",
        models=r"grok",
        places=r"langchain_xai|api\.x\.ai",
        families=(("fast", known.GROK_4_FAST), ("", known.GROK_4)),
    ),
    Provider(
        name="meta",
        models=r"llama",
        families=(
            (r"llama-?4", known.LLAMA_4),
            (r"llama-?v?3[.p-][1-9](?!\d*b)", known.LLAMA_3_1),
            ("", known.LLAMA_3),
        ),
    ),
    Provider(name="qwen", models=r"qwen|qwq", places=r"dashscope|langchain_qwq", families=(("", known.QWEN_3),)),
    Provider(
        name="amazon",
        models=r"nova-|titan-text",
        families=(("nova-2", known.NOVA_2), ("", known.NOVA_1)),
    ),
    Provider(
        name="cohere",
        models=r"(?:^|[/.])(?:command|c4ai|aya)",
        places=r"cohere",
        remote_package="langchain_cohere",
        families=(
            ("reasoning", known.COMMAND_REASONING),
            (r"command-r(?!7b)|command(?!-)", known.COMMAND_R),
            ("", known.COMMAND_A),
        ),
    ),
    Provider(name="perplexity", models="sonar", places="perplexity", families=(("", known.SONAR),)),
    OPENAI,
    Provider(name="bedrock", places="langchain_aws", remote_package="langchain_aws"),
    OPEN_MODELS,
)
REMOTE_PACKAGES = tuple(row.remote_package for row in PROVIDERS if row.remote_package)

# Fields of a model, first what says most about how it counts; then those that say where it is asked.
_NAMES = ("tiktoken_model_name", "base_model_id", "model_name", "deployment_name", "model", "model_id")
_ADDRESSES = ("openai_api_base", "azure_endpoint", "base_url", "endpoint_url", "anthropic_api_url")


def names_of(model: object) -> dict[str, str]:
    """Return what a model is called, by its fields; bound options hide them."""
    return _texts_of(model, _NAMES)


def place_of(model: object) -> str:
    """Return where a model is served: its classes' modules, without LangChain's core, and its address."""
    modules = dict.fromkeys(base.__module__ for base in type(model).__mro__)
    own = [module for module in modules if module.partition(".")[0] not in _EVERYWHERE]
    return " ".join([*own, *_texts_of(model, _ADDRESSES).values()])


_EVERYWHERE = frozenset({"builtins", "abc", "typing", "pydantic", "langchain_core"})


def _texts_of(model: object, fields: tuple[str, ...]) -> dict[str, str]:
    found = {field: getattr(model, field, None) for field in fields}
    return {field: text for field, text in found.items() if isinstance(text, str) and text}


def provider_of(model: object) -> Provider:
    """Return the provider of a model's name, or of a model, which must be unwrapped."""
    if isinstance(model, str):
        return provider_named(model) or OPEN_MODELS
    names = names_of(model).values() or [type(model).__name__]  # its class's where nothing else names it
    named = (provider_named(name) for name in names)
    return next(filter(None, named), None) or _provider_at(place_of(model)) or OPEN_MODELS


def checks_thinking(model: object) -> bool:
    """Tell whether a model refuses a request with thinking that was thought behind other messages."""
    pattern = provider_of(model).checks_thinking
    names = [model] if isinstance(model, str) else names_of(model).values()
    return pattern is not None and any(re.search(pattern, name.lower()) for name in names)


def provider_named(name: str) -> Provider | None:
    """Return the provider of a model of that name: dated, fine-tuned, prefixed or in upper case."""
    name = name.lower()
    return next((row for row in PROVIDERS if row.models and re.search(row.models, name)), None)


def _provider_at(place: str) -> Provider | None:
    place = place.lower()
    return next((row for row in PROVIDERS if row.places and re.search(row.places, place)), None)
