"""Which pricing a model, an encoding name or a callable gets.

Models are told apart by who defined their counting, so that subclasses and forks are recognised
and no provider's package is imported.
"""

from __future__ import annotations

import types
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import RunnableBinding

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._pricing import (
    CalledPricing,
    ChatPricing,
    FunctionText,
    Pricing,
    TextPricing,
    TiktokenText,
    memory_named,
    memory_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Exact: TypeAlias = Literal["local", "remote"]

_BASE = BaseLanguageModel.__module__
_OPENAI = "langchain_openai."
_REMOTE = ("langchain_anthropic", "langchain_google", "langchain_aws", "langchain_cohere")
_ESTIMATE = 1.5
"""Tokens of models without a local tokenizer, as a multiple of `cl100k_base`'s. Billed Claude
requests without tools are between 1.0 (Sonnet 4.5) and 1.43 (Opus 4.8) times that."""

_FAMILIES = (
    ("gpt-oss", "o200k_harmony"),
    ("gpt-4o", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("gpt-35", "cl100k_base"),
    ("gpt-5", "o200k_base"),
    ("gpt-6", "o200k_base"),
    ("chatgpt", "o200k_base"),
    ("codex", "o200k_base"),
    ("o1", "o200k_base"),
    ("o3", "o200k_base"),
    ("o4", "o200k_base"),
)
_warned: set[str] = set()


def pricing_of(counter: object, exact: Exact) -> Pricing:
    while isinstance(counter, RunnableBinding):
        counter = counter.bound
    if isinstance(counter, str):
        return _of_encoding(counter)
    if isinstance(counter, BaseLanguageModel):
        return _of_model(counter, exact)
    if callable(counter):
        function = getattr(counter, "__func__", None)
        if isinstance(counter, types.MethodType) and function is not None:
            memory = memory_of(counter.__self__, function.__qualname__)
        else:
            memory = memory_of(counter)
        return CalledPricing(
            counter, memory, getattr(counter, "__qualname__", type(counter).__name__)
        )
    msg = (
        "token_counter must be a chat model or LLM, an encoding name or a callable from a list of "
        f"messages to an int; got {type(counter).__name__}: {counter!r}"
    )
    raise TypeError(msg)


def _of_encoding(name: str) -> Pricing:
    known = vocabularies.names()
    if name not in known:
        msg = f"token_counter {name!r} is not an encoding of tiktoken; known are {', '.join(known)}"
        suggestion = _encoding_of(name)
        if suggestion is not None:
            msg += f". The model of that name uses {suggestion!r}"
        raise ValueError(msg)
    return _chat(name, f"{name}, in OpenAI's chat format")


def _chat(name: str, what: str, **options: Any) -> ChatPricing:
    memory = memory_named("chat", name, *sorted(options.items()))
    return ChatPricing(TiktokenText(name), memory, what, **options)


def _of_model(model: BaseLanguageModel[Any], exact: Exact) -> Pricing:
    """Choose by who defined the model's counting, so that subclasses and forks are recognised."""
    kind = type(model)
    messages_by, text_by, ids_by = (
        method.__module__
        for method in (kind.get_num_tokens_from_messages, kind.get_num_tokens, kind.get_token_ids)
    )
    counted_by = {messages_by, text_by, ids_by}
    if model.custom_get_token_ids is not None:
        return _custom(model, model.custom_get_token_ids)
    if messages_by.startswith(_OPENAI):
        return _openai_chat(model)
    is_remote = any(home.startswith(_REMOTE) for home in (*counted_by, kind.__module__))
    if messages_by != _BASE and (exact == "remote" or not is_remote):
        what = f"{kind.__name__}.get_num_tokens_from_messages"
        return CalledPricing(model.get_num_tokens_from_messages, memory_of(model), what)
    if counted_by == {_BASE} and not is_remote:
        # LangChain would load a GPT-2 tokenizer from a hub.
        _warn_once(f"{kind.__name__} has no tokenizer of its own")
    if counted_by == {_BASE} or is_remote:
        what = f"{kind.__name__}: estimated as {_ESTIMATE} x {vocabularies.FALLBACK}"
        return _chat(vocabularies.FALLBACK, what, factor=_ESTIMATE)
    return _as_text(model, ids_by)


def _custom(model: BaseLanguageModel[Any], ids: Callable[[str], list[int]]) -> Pricing:
    """`custom_get_token_ids` wins, also where the model's own counting of messages ignores it."""
    kind = type(model)
    text = FunctionText(lambda text: len(ids(text)))
    what = f"custom_get_token_ids of {kind.__name__}"
    if kind.get_num_tokens_from_messages.__module__.startswith(_OPENAI):
        return ChatPricing(text, memory_of(ids, "chat"), what)
    return TextPricing(text, memory_of(ids), what)


def _openai_chat(model: BaseLanguageModel[Any]) -> Pricing:
    name = _name_of(model)
    encoding = _encoding_or_fallback(name, type(model).__name__)
    what = f"{type(model).__name__} {name}: {encoding}, in OpenAI's chat format"
    if str(name).startswith("gpt-3.5-turbo-0301"):
        return _chat(encoding, what, per_message=4, per_name=-1)
    return _chat(encoding, what)


def _as_text(model: BaseLanguageModel[Any], ids_by: str) -> Pricing:
    """Price as LangChain's base class does: the text of each message, role first, summed."""
    kind = type(model).__name__
    if not ids_by.startswith(_OPENAI):
        text = FunctionText(model.get_num_tokens)
        return TextPricing(text, memory_of(model), f"{kind}.get_num_tokens")
    name = _name_of(model)
    encoding = _encoding_or_fallback(name, kind)
    what = f"{kind} {name}: {encoding}, as text"
    return TextPricing(TiktokenText(encoding), memory_named("text", encoding), what)


def _name_of(model: BaseLanguageModel[Any]) -> str | None:
    return getattr(model, "tiktoken_model_name", None) or getattr(model, "model_name", None)


def _encoding_of(name: str) -> str | None:
    """Return the encoding of a model's name: dated, fine-tuned, prefixed or in upper case."""
    bare = name.lower().rpartition("/")[2].removeprefix("ft:")
    for prefix, encoding in _FAMILIES:
        if bare.startswith(prefix):
            return encoding
    from tiktoken.model import encoding_name_for_model  # noqa: PLC0415  # see vocabularies

    try:
        return encoding_name_for_model(bare)
    except KeyError:
        return None


def _encoding_or_fallback(name: str | None, of: str) -> str:
    encoding = _encoding_of(name) if name else None
    if encoding is None:
        _warn_once(f"The model name {name!r} of {of} is not known")
        return vocabularies.FALLBACK
    return encoding


def _warn_once(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"{what}; counting with {vocabularies.FALLBACK!r}. Set tiktoken_model_name or "
            f"custom_get_token_ids on the model, or pass another token_counter.",
            stacklevel=2,
        )
