"""What is known of each provider, one row each: adding a provider is adding a row.

A provider is recognised by its models' classes and names, so that no provider's package is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from langchain_tokenbuffer._counting.images import Area, Images, Patches, Squares, Tiles

_TILES = Tiles(85, 170)


@dataclass(frozen=True)
class ChatFormat:
    """What a chat format costs beside its texts, in tokens. The defaults are GPT-4's and GPT-4o's.

    Published are `constant`, `per_message` and `per_name` (OpenAI cookbook), and `result` is what langchain-openai
    takes. The others are fitted on recorded requests, those of gpt-4o and gpt-4.1 here, those of reasoning models where
    their format is made; "residual" is bill less count.
    """

    constant: int = 3  # once, for the reply's beginning
    per_message: int = 3  # for each message, beside role and content
    per_name: int = 1  # for a message's name, beside its text
    result: int = 3  # for a tool result's call id
    call: int = 1  # for a tool call beside its name, said twice, and its arguments. 11 calls in 8 requests, residual 0.
    # For binding tools, beside what `as_typescript` shows. The cookbook's example, 14 validated cases and 19 requests,
    # residual 0.
    tools: int = 3
    # What tools cost less when a system message comes first, which they share. Of these, the 20 with a system message.
    merged: int = 4
    billed: int = 0  # beside the constant; for reasoning models one less. 12 requests, residual 0.
    # For a response format beside what `as_format` shows. 2 requests, residual 0; without tools and a system message it
    # opens one, which rounds up.
    response_format: int = 1
    # Whether several calls of one message are sent as one. 1 request, residual -1. Else each is charged as a message of
    # its own, which rounds up.
    parallel: bool = True
    typescript: bool = True  # whether tools are shown as TypeScript, else as JSON
    images: Images = _TILES


@dataclass(frozen=True)
class Provider:
    """What is known of one provider."""

    name: str
    pattern: str | None = None  # in its models' names or their classes' modules, lower case; `None` if neither tells
    remote_package: str | None = None  # how the packages begin in which a model's own counting asks the provider
    # Patterns of model names, each with its encoding of tiktoken or its own chat format; the first match wins. Models
    # without an encoding have no local tokenizer and are estimated.
    encodings: tuple[tuple[str, str], ...] = ()
    families: tuple[tuple[str, ChatFormat], ...] = ()
    estimate: float = 1.5  # the tokens of its other models, as a multiple of `cl100k_base`'s
    chat_format: ChatFormat = ChatFormat()
    # What a token costs that the prompt cache serves, and one that goes into it, as shares of the input's price.
    cache_prices: tuple[float, float] | None = None
    profile: tuple[str, str] | None = None  # the package and class that know how many tokens its models take
    # Whether thinking is only valid behind the very messages it was thought behind, so that it leaves when they do.
    binds_thinking: bool = False

    def format_of(self, name: str) -> ChatFormat:
        """Return the chat format of one of its models."""
        return next((form for part, form in self.families if re.search(part, name.lower())), self.chat_format)


_UNKNOWN = ChatFormat(parallel=False, typescript=False)
"""Each call as a message of its own, tools as JSON: what rounds up."""
_REASONING = ChatFormat(call=7, tools=85, merged=0, billed=-1, parallel=False, images=Tiles(75, 150))
"""Fitted on 8 requests of gpt-5 and gpt-5.4-mini with tools, 4 of them with calls, and 4 plain ones of o3-mini, gpt-5
and gpt-5.6, residual 0. Whether a system message shares its place with the tools is not known, so nothing is taken
off."""

OPENAI = Provider(
    name="openai",
    encodings=(
        (r"gpt-oss", "o200k_harmony"),
        (r"(?<![a-z])(?:chat)?gpt-(?:4o|4\.[15]|[5-9])", "o200k_base"),
        (r"(?<![a-z])gpt-(?:4|3\.?5)", "cl100k_base"),
        (r"chatgpt|codex-mini", "o200k_base"),
        # "o1" and the like mean OpenAI's only where the name begins: marco-o1 is another's
        (r"(?:^|[/:.])o[1-9](?![a-z0-9])", "o200k_base"),
    ),
    families=(
        (r"gpt-3\.5-turbo-0301", ChatFormat(per_message=4, per_name=-1)),
        (r"gpt-4o-mini", ChatFormat(images=Tiles(2833, 5667))),
        (r"gpt-4\.1-mini", ChatFormat(images=Patches(1.62))),
        (r"gpt-4\.1-nano", ChatFormat(images=Patches(2.46))),
        (r"gpt-5-nano", replace(_REASONING, images=Patches(2.46))),
        (r"gpt-5-mini", replace(_REASONING, images=Patches(1.62))),
        (r"(?:^|[/:.])o4-mini", replace(_REASONING, images=Patches(1.72))),
        # Not published when this was written: the dearest factor over the largest limit.
        (r"gpt-(?:5\.|[6-9])", replace(_REASONING, images=Patches(2.46, 2500))),
        (r"gpt-5", replace(_REASONING, images=Tiles(70, 140))),
        (r"gpt-oss|codex-mini|(?:^|[/:.])o[1-9](?![a-z0-9])", _REASONING),
    ),
    cache_prices=(0.1, 1.0),
    profile=("langchain_openai", "ChatOpenAI"),
)
"""Also stands for a provider that no row recognises: most servers speak OpenAI's format."""

OPEN_MODELS = Provider(
    name="open models",
    chat_format=replace(_UNKNOWN, constant=5, per_message=4),
)
"""A tokenizer object without a chat template. The format is the dearest of ChatML (Qwen, SmolLM), Llama 3's and
Gemma's: all put four tokens beside the role around a message, and open a conversation with at most five."""

PROVIDERS = (
    Provider(
        name="anthropic",
        pattern=r"anthropic|claude",
        remote_package="langchain_anthropic",
        # Claude's text in 80 billed requests is between 1.0 (Sonnet 4.5) and 1.43 (Opus 4.8) times that of
        # `cl100k_base`.
        estimate=1.5,
        # Fitted on the same requests so that none is more than 15 % low: thinking takes about 29 tokens, binding tools
        # about 497, and 90 more where one must be called.
        chat_format=replace(
            _UNKNOWN, constant=32, call=12, result=24, tools=540, merged=0, response_format=140, images=Area(2576, 4784)
        ),
        cache_prices=(0.1, 1.25),
        profile=("langchain_anthropic", "ChatAnthropic"),
        binds_thinking=True,
    ),
    Provider(
        name="google",
        pattern=r"google|gemini",
        remote_package="langchain_google",
        chat_format=ChatFormat(typescript=False, images=Squares()),
    ),
    Provider(name="bedrock", pattern="langchain_aws", remote_package="langchain_aws"),
    Provider(name="cohere", pattern="langchain_cohere", remote_package="langchain_cohere"),
    OPENAI,
    OPEN_MODELS,
)
REMOTE_PACKAGES = tuple(row.remote_package for row in PROVIDERS if row.remote_package)
_ENCODINGS = tuple(pair for row in PROVIDERS for pair in row.encodings)

# Fields of a model, first what says most about how it counts.
_NAMES = ("tiktoken_model_name", "base_model_id", "model_name", "deployment_name", "model", "model_id")


def names_of(model: object) -> dict[str, str]:
    """Return what a model is called, by its fields; bound options hide them."""
    found = {field: getattr(model, field, None) for field in _NAMES}
    return {field: name for field, name in found.items() if isinstance(name, str) and name}


def modules_of(model: object) -> list[str]:
    """Return the modules of a model's classes."""
    return [base.__module__ for base in type(model).__mro__]


def provider_of(model: object) -> Provider:
    """Return the provider of a model's name, or of a model, which must be unwrapped."""
    if isinstance(model, str):
        return provider_named(model)
    names = names_of(model).values() or [type(model).__name__]  # its class's where nothing else names it
    return provider_named(*modules_of(model), *names)


def provider_named(*names: str) -> Provider:
    """Return the first provider that names or modules show; else OpenAI."""
    text = " ".join(names).lower()
    return next((row for row in PROVIDERS if row.pattern and re.search(row.pattern, text)), OPENAI)


def encoding_of(name: str) -> str | None:
    """Return the encoding of a model's name: dated, fine-tuned, prefixed or in upper case."""
    name = name.lower()
    for pattern, encoding in _ENCODINGS:
        if re.search(pattern, name):
            return encoding
    from tiktoken.model import encoding_name_for_model  # noqa: PLC0415  # see vocabularies

    for bare in (name, name.rpartition("/")[2].removeprefix("ft:")):
        try:
            return encoding_name_for_model(bare)
        except KeyError:
            pass
    return None
