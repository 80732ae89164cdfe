"""Which pricing a model, an encoding name or a callable gets.

Models are told apart by who defined their counting, so that subclasses and forks are recognised
and no provider's package is imported.
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableWithFallbacks
from langchain_core.runnables.configurable import DynamicRunnable

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._pricing import (
    CalledPricing,
    ChatPricing,
    Pricing,
    RemotePricing,
    TextPricing,
)
from langchain_tokenbuffer._remembering import memory_named, memory_of, memory_of_callable
from langchain_tokenbuffer._texts import FunctionText, TiktokenText

if TYPE_CHECKING:
    from collections.abc import Callable

Exact: TypeAlias = Literal["local", "remote"]

_BASE = BaseLanguageModel.__module__
_OPENAI = "langchain_openai."
_REMOTE = ("langchain_anthropic", "langchain_google", "langchain_aws", "langchain_cohere")
_ESTIMATE = 1.5
"""Tokens of models without a local tokenizer, as a multiple of `cl100k_base`'s. Billed Claude
requests without tools are between 1.0 (Sonnet 4.5) and 1.43 (Opus 4.8) times that."""

_ENCODINGS = (
    # model names that contain this -> encoding; the first match wins
    (r"gpt-oss", "o200k_harmony"),
    (r"(?<![a-z])(?:chat)?gpt-(?:4o|4\.[15]|[5-9])", "o200k_base"),
    (r"(?<![a-z])gpt-(?:4|3\.?5)", "cl100k_base"),
    (r"chatgpt|codex-mini", "o200k_base"),
    # "o1" and the like mean OpenAI's only where the name begins: marco-o1 is another's
    (r"(?:^|[/:.])o[1-9](?![a-z0-9])", "o200k_base"),
)
_warned: set[str] = set()


def pricing_of(counter: object, exact: Exact) -> Pricing:
    counter = _unwrapped(counter)
    if isinstance(counter, str):
        return _of_encoding(counter)
    if isinstance(counter, BaseLanguageModel):
        return _of_model(counter, exact)
    name = _shown(counter)
    if not callable(counter) or isinstance(counter, (type, Runnable)):
        msg = (
            "token_counter must be a chat model or LLM, an encoding name or a callable from a "
            f"list of messages to an int; got {name}"
        )
        raise TypeError(msg)
    if inspect.iscoroutinefunction(inspect.unwrap(counter)) or inspect.iscoroutinefunction(
        getattr(counter, "__call__", None)  # noqa: B004  # an object whose __call__ is async
    ):
        msg = f"token_counter must return an int; {name} is a coroutine function"
        raise TypeError(msg)
    return CalledPricing(counter, memory_of_callable(counter), name)


def _unwrapped(counter: object) -> object:
    """Return the model inside bound tools and options, fallbacks and configurable fields."""
    while True:
        if isinstance(counter, RunnableBinding):
            counter = counter.bound
        elif isinstance(counter, RunnableWithFallbacks):
            counter = counter.runnable
        elif isinstance(counter, DynamicRunnable):
            counter = counter.default
        else:
            return counter


def _shown(counter: object) -> str:
    """Name a counter for an error: never its repr, which may show keys."""
    if isinstance(counter, functools.partial):
        return f"partial({_shown(counter.func)})"
    if isinstance(counter, type):
        return f"the class {counter.__qualname__}, not an instance of it"
    name: str | None = getattr(counter, "__qualname__", None)
    if name is None and not callable(counter):
        return f"{type(counter).__name__}: {counter!r:.200}"
    return name or type(counter).__name__


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
    messages_by = _definer(kind, "get_num_tokens_from_messages")
    text_by = _definer(kind, "get_num_tokens")
    ids_by = _definer(kind, "get_token_ids")
    if model.custom_get_token_ids is not None:
        return _custom(model, model.custom_get_token_ids, messages_by)
    if messages_by.startswith(_OPENAI):
        return _openai_chat(model)
    if exact == "remote" or not messages_by.startswith(_REMOTE):
        what = f"{kind.__name__}.get_num_tokens_from_messages"
        memory = memory_of(model, "get_num_tokens_from_messages")
        if messages_by.startswith(_REMOTE):
            return RemotePricing(model.get_num_tokens_from_messages, memory, what)
        if messages_by != _BASE:
            return CalledPricing(model.get_num_tokens_from_messages, memory, what)
    by = ids_by if text_by == _BASE else text_by
    if by != _BASE and (exact == "remote" or not by.startswith(_REMOTE)):
        return _as_text(model, by)
    if not any(base.__module__.startswith(_REMOTE) for base in kind.__mro__):
        # LangChain would load a GPT-2 tokenizer from a hub.
        _warn_once(f"{kind.__name__} has no tokenizer of its own")
    what = f"{kind.__name__}: estimated as {_ESTIMATE} x {vocabularies.FALLBACK}"
    return _chat(vocabularies.FALLBACK, what, factor=_ESTIMATE)


def _definer(kind: type, method: str) -> str:
    """Return the module of the class that defines a method."""
    return next(base.__module__ for base in kind.__mro__ if method in base.__dict__)


def _custom(
    model: BaseLanguageModel[Any], ids: Callable[[str], list[int]], messages_by: str
) -> Pricing:
    """`custom_get_token_ids` wins, also where the model's own counting of messages ignores it."""
    what = f"custom_get_token_ids of {type(model).__name__}"
    text = FunctionText(lambda text: len(ids(text)), what)
    if messages_by.startswith(_OPENAI):
        return ChatPricing(text, memory_of(ids, "chat"), what)
    return TextPricing(text, memory_of(ids, "text"), what)


def _openai_chat(model: BaseLanguageModel[Any]) -> Pricing:
    name = _name_of(model)
    encoding = _encoding_or_fallback(name, type(model).__name__)
    what = f"{type(model).__name__} {name}: {encoding}, in OpenAI's chat format"
    if str(name).startswith("gpt-3.5-turbo-0301"):
        return _chat(encoding, what, per_message=4, per_name=-1)
    return _chat(encoding, what)


def _as_text(model: BaseLanguageModel[Any], text_by: str) -> Pricing:
    """Price as LangChain's base class does: the text of each message, role first, summed."""
    kind = type(model).__name__
    if not text_by.startswith(_OPENAI):
        what = f"{kind}.get_num_tokens"
        text = FunctionText(model.get_num_tokens, what)
        return TextPricing(text, memory_of(model, "get_num_tokens"), what)
    name = _name_of(model)
    encoding = _encoding_or_fallback(name, kind)
    what = f"{kind} {name}: {encoding}, as text"
    return TextPricing(TiktokenText(encoding), memory_named("text", encoding), what)


def _name_of(model: BaseLanguageModel[Any]) -> str | None:
    """Return the name that says most: a deployment's only where it shows the model behind it."""
    names = [
        getattr(model, field, None)
        for field in ("tiktoken_model_name", "model_name", "deployment_name")
    ]
    given = [name for name in names if isinstance(name, str) and name]
    known = (name for name in given if _encoding_of(name) is not None)
    return given[0] if names[0] else next(known, given[0] if given else None)


def _encoding_of(name: str) -> str | None:
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
