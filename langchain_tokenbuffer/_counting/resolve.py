"""Which message counter a model, an encoding name or a callable gets; and what a model is called.

Models are told apart by who defined their counting, so that subclasses and forks are recognised and no provider's
package is imported.
"""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableWithFallbacks
from langchain_core.runnables.configurable import DynamicRunnable

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._counting import providers
from langchain_tokenbuffer._counting.count_cache import cache_named, cache_of, cache_of_callable
from langchain_tokenbuffer._counting.message_counters import CallableCounter, ChatCounter, RemoteCounter, TextCounter
from langchain_tokenbuffer._counting.tokenizers import EncoderText, FunctionText, ScaledText, TiktokenText
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer._counting.message_counters import MessageCounter

Exact: TypeAlias = Literal["local", "remote"]

_BASE = BaseLanguageModel.__module__
_OPENAI = "langchain_openai."


@dataclass(frozen=True)
class ModelName:
    """A model of which only the name is known: nothing to ask, and no key."""

    name: str


def fallback_models(model: object) -> list[object]:
    """Return every model that may answer, first the one that is asked first.

    Bound tools and options, fallbacks and configurable fields are looked through.
    """
    if isinstance(model, RunnableBinding):
        return fallback_models(model.bound)
    if isinstance(model, DynamicRunnable):
        return fallback_models(model.default)
    if isinstance(model, RunnableWithFallbacks):
        return [inner for each in model.runnables for inner in fallback_models(each)]
    return [model]


def unwrapped(model: object) -> object:
    """Return the model inside bound tools and options, configurable fields, the first fallback."""
    return fallback_models(model)[0]


def model_name(model: object) -> str | None:
    """Return the name that says most about how a model counts.

    `tiktoken_model_name` says it outright, `base_model_id` what is behind an inference profile; a deployment's name
    counts only where it shows the model behind it.
    """
    names = providers.names_of(unwrapped(model))
    if "tiktoken_model_name" in names:
        return names["tiktoken_model_name"]
    known = (name for name in names.values() if providers.encoding_of(name) is not None)
    return next(known, next(iter(names.values()), None))


def served_name(model: object) -> str | None:
    """Return the name by which a model is asked for, and by which its replies report usage."""
    names = providers.names_of(unwrapped(model))
    return names.get("model_name") or names.get("model") or names.get("model_id")


def message_counter_of(counter: object, exact: Exact) -> MessageCounter:
    """Return what counts messages for whatever `TokenCounter` takes; an error that names it if that is nothing."""
    counter = unwrapped(counter)
    if isinstance(counter, os.PathLike) or (isinstance(counter, str) and counter.endswith(".json")):
        counter = _encoder_in(Path(counter))
    if isinstance(counter, str):
        return _of_encoding(counter)
    if isinstance(counter, ModelName):
        return _of_name(counter.name)
    if isinstance(counter, BaseLanguageModel):
        return _of_model(counter, exact)
    if all(hasattr(type(counter), method) for method in ("encode", "decode")):
        return _of_encoder(counter)
    return _of_callable(counter)


def _of_callable(counter: Any) -> MessageCounter:
    name = _shown(counter)
    if not callable(counter) or isinstance(counter, (type, Runnable)):
        wanted = "a chat model or LLM, an encoding name, a tokenizer or a callable from a list of messages to an int"
        msg = f"token_counter must be {wanted}; got {name}"
        raise TypeError(msg)
    called = getattr(counter, "__call__", None)  # noqa: B004  # an object whose __call__ is async
    if any(map(inspect.iscoroutinefunction, (inspect.unwrap(counter), called))):
        msg = f"token_counter must return an int; {name} is a coroutine function"
        raise TypeError(msg)
    return CallableCounter(counter, cache_of_callable(counter), name)


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


def _of_encoding(name: str) -> MessageCounter:
    known = vocabularies.names()
    if name not in known:
        msg = f"token_counter {name!r} is not an encoding of tiktoken; known are {', '.join(known)}"
        if (suggestion := providers.encoding_of(name)) is not None:
            msg += f". The model of that name uses {suggestion!r}"
        raise ValueError(msg)
    return _chat(name, f"{name}, in OpenAI's chat format", providers.OPENAI.chat_format)


def _encoder_in(path: Path) -> object:
    """Load a `tokenizer.json`, once as long as it stays the same file."""
    try:
        stat = path.stat()
    except OSError as error:
        msg = f"token_counter {str(path)!r} is no file that can be read: {error}"
        raise ValueError(msg) from error
    return _loaded_encoder(str(path), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=8)
def _loaded_encoder(path: str, *_: int) -> object:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  # needed for such a file alone
    except ImportError as error:
        msg = f"Counting with {path!r} needs the package tokenizers: pip install tokenizers"
        raise TokenBufferError(msg) from error
    try:
        return Tokenizer.from_file(path)
    except Exception as error:
        msg = f"token_counter {path!r} is no tokenizer.json: {error}"
        raise ValueError(msg) from error


def _of_encoder(encoder: Any) -> MessageCounter:
    """A tokenizer object, in its chat template's format where it has one."""
    text = EncoderText(encoder)
    chat_format, whose = _measured(encoder, text), "its chat template"
    if chat_format is None:
        is_openais = hasattr(encoder, "encode_ordinary")
        chat_format = (providers.OPENAI if is_openais else providers.OPEN_MODELS).chat_format
        whose = "OpenAI's chat format" if is_openais else "the format of open models"
    what = f"{type(encoder).__name__}, in {whose}"
    return ChatCounter(text, cache_of(encoder, "chat"), what, chat_format, exact=False)


def _measured(encoder: Any, text: EncoderText) -> providers.ChatFormat | None:
    """Measure a chat template: what it puts around a message and around all of them.

    Templates differ between roles; the dearer of a question and a reply stands for every message.
    """
    if not getattr(encoder, "chat_template", None):
        return None
    talk = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    try:
        sizes = [
            len(encoder.apply_chat_template(talk[:n], tokenize=True, add_generation_prompt=True, return_dict=False))
            for n in (1, 2, 3)
        ]
    except Exception:  # noqa: BLE001  # a template may refuse anything
        return None
    user, assistant = text("user") + text("x"), text("assistant") + text("x")
    around = max(sizes[1] - sizes[0] - assistant, sizes[2] - sizes[1] - user, 0)
    constant = max(0, sizes[0] - around - user)
    return replace(providers.OPEN_MODELS.chat_format, constant=constant, per_message=around, merged=0)


def _chat(encoding: str, what: str, chat_format: providers.ChatFormat, *, borrowed: bool = False) -> MessageCounter:
    cache = cache_named("chat", encoding, chat_format)
    return ChatCounter(TiktokenText(encoding), cache, what, chat_format, exact=not borrowed, borrowed=borrowed)


def _estimated(shown: str, provider: providers.Provider) -> MessageCounter:
    """A model that cannot be asked here: its provider's format over a borrowed encoding."""
    text = ScaledText(TiktokenText(vocabularies.FALLBACK), provider.estimate)
    what = f"{shown}: estimated as {provider.estimate} x {vocabularies.FALLBACK}"
    cache = cache_named("estimate", provider.estimate, provider.chat_format)
    return ChatCounter(text, cache, what, provider.chat_format, exact=False, borrowed=True)


def _of_model(model: BaseLanguageModel[Any], exact: Exact) -> MessageCounter:
    """Choose by who defined the model's counting, so that subclasses and forks are recognised."""
    messages_by = _definer(model, "get_num_tokens_from_messages")
    if model.custom_get_token_ids is not None:
        return _custom(model, model.custom_get_token_ids, as_chat=messages_by.startswith(_OPENAI))
    if messages_by.startswith(_OPENAI):
        return _of_openai(model, as_chat=True)
    kind = type(model).__name__
    if _may_ask(messages_by, exact):
        counter = RemoteCounter if messages_by.startswith(providers.REMOTE_PACKAGES) else CallableCounter
        method = "get_num_tokens_from_messages"
        return counter(getattr(model, method), cache_of(model, method), f"{kind}.{method}")
    text_by = _definer(model, "get_num_tokens", "get_token_ids")
    if _may_ask(text_by, exact):
        return _of_own_texts(model, text_by)
    modules = providers.modules_of(model)
    if not any(module.startswith(providers.REMOTE_PACKAGES) for module in modules):
        # LangChain would load a GPT-2 tokenizer from a hub.
        _warn_once(f"{kind} has no tokenizer of its own")
    return _estimated(kind, providers.provider_named(*modules, model_name(model) or ""))


def _definer(model: object, *methods: str) -> str:
    """Return the module that defines the first of these methods which LangChain's base does not."""
    modules = [next(base.__module__ for base in type(model).__mro__ if method in base.__dict__) for method in methods]
    return next((module for module in modules if module != _BASE), _BASE)


def _may_ask(definer: str, exact: Exact) -> bool:
    """Tell whether a model's own counting is to be asked: not LangChain's, which guesses."""
    return definer != _BASE and (exact == "remote" or not definer.startswith(providers.REMOTE_PACKAGES))


def _custom(model: object, ids: Callable[[str], list[int]], *, as_chat: bool) -> MessageCounter:
    """`custom_get_token_ids` wins, also where the model's own counting of messages ignores it."""
    what = f"custom_get_token_ids of {type(model).__name__}"
    text = FunctionText(lambda text: len(ids(text)), what)
    if as_chat:
        return ChatCounter(text, cache_of(ids, "chat"), what, providers.OPENAI.chat_format, exact=True)
    return TextCounter(text, cache_of(ids, "text"), what)


def _of_openai(model: BaseLanguageModel[Any], *, as_chat: bool) -> MessageCounter:
    """A model of langchain-openai: by its name's encoding, in chat format or as plain text."""
    name, kind = model_name(model), type(model).__name__
    known = providers.encoding_of(name) if name else None
    encoding = known or vocabularies.FALLBACK
    if not known:
        _warn_once(f"The model name {name!r} of {kind} is not known")
    what = f"{kind} {name}: {'' if known else 'estimated as '}{encoding}, "
    what += ("in OpenAI's chat format" if as_chat else "as text") + (" (exact)" if known else "")
    if not as_chat:
        return TextCounter(TiktokenText(encoding), cache_named("text", encoding), what)
    chat_format = providers.OPENAI.format_of(str(name)) if known else providers.OPENAI.chat_format
    return _chat(encoding, what, chat_format, borrowed=not known)


def _of_name(name: str) -> MessageCounter:
    """A chat model by its name alone: as its provider's would be counted."""
    encoding = providers.encoding_of(name)
    if encoding is None:
        return _estimated(name, providers.provider_named(name))
    what = f"{name}: {encoding}, in OpenAI's chat format (exact)"
    return _chat(encoding, what, providers.OPENAI.format_of(name))


def _of_own_texts(model: BaseLanguageModel[Any], text_by: str) -> MessageCounter:
    """Count as LangChain's base class does: the text of each message, role first, summed."""
    if text_by.startswith(_OPENAI):
        return _of_openai(model, as_chat=False)
    what = f"{type(model).__name__}.get_num_tokens"
    text = FunctionText(model.get_num_tokens, what)
    return TextCounter(text, cache_of(model, "get_num_tokens"), what)


@functools.cache
def _warn_once(what: str) -> None:
    warnings.warn(
        f"{what}; counting with {vocabularies.FALLBACK!r}. Set tiktoken_model_name or "
        f"custom_get_token_ids on the model, or pass another token_counter.",
        stacklevel=2,
    )
