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
from langchain_tokenbuffer._counting.extras import EXTRAS, OwnText, is_installed
from langchain_tokenbuffer._counting.families import Vocabulary
from langchain_tokenbuffer._counting.message_counters import (
    CallableCounter,
    ChatCounter,
    MessageCounter,
    RemoteCounter,
    TextCounter,
)
from langchain_tokenbuffer._counting.tokenizers import EncoderText, FunctionText, ScaledText, TiktokenText
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer._counting.families import ChatFormat, Family
    from langchain_tokenbuffer._counting.tokenizers import CountText

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


def bound_options(model: object) -> dict[str, Any]:
    """Return the options that are bound to a model, tools included: to the one that is asked first."""
    if isinstance(model, RunnableBinding):
        return {**bound_options(model.bound), **model.kwargs}
    if isinstance(model, DynamicRunnable):
        return bound_options(model.default)
    return bound_options(model.runnable) if isinstance(model, RunnableWithFallbacks) else {}


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
    known = filter(providers.provider_named, names.values())
    return next(known, next(iter(names.values()), None))


def served_name(model: object) -> str | None:
    """Return the name by which a model is asked for, and by which its replies report usage."""
    names = providers.names_of(unwrapped(model))
    return names.get("model_name") or names.get("model") or names.get("model_id")


def resolve(counter: object, exact: Exact = "local") -> MessageCounter:
    """Return what counts messages for whatever `TokenCounter` takes; an error that names it if that is nothing."""
    if isinstance(counter, MessageCounter):
        return counter
    options = bound_options(counter)
    counter = unwrapped(counter)
    if isinstance(counter, os.PathLike) or (isinstance(counter, str) and counter.endswith(".json")):
        counter = _encoder_in(Path(counter))
    if isinstance(counter, str):
        return _of_text(counter)
    if isinstance(counter, ModelName):
        return _of_name(counter.name)
    if isinstance(counter, BaseLanguageModel):
        return _of_model(counter, exact, options)
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


def _of_text(name: str) -> MessageCounter:
    """An encoding of tiktoken, or a model by its name."""
    known = vocabularies.names()
    if name in known:
        family = providers.OPENAI.family_of("gpt-4o")
        return _of_family(replace(family, vocabulary=Vocabulary(name)), f"{name}, in OpenAI's chat format")
    if providers.provider_named(name) is not None:
        return _of_name(name)
    msg = (
        f"token_counter {name!r} is neither an encoding of tiktoken nor the name of a model that is known; known are "
        f"{', '.join(known)}, and names such as 'gpt-4o' or 'claude-sonnet-4-5'"
    )
    raise ValueError(msg)


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
    is_openais = hasattr(encoder, "encode_ordinary")
    family = providers.OPENAI.family_of("gpt-4o") if is_openais else providers.OPEN_MODELS.family_of("")
    whose = "OpenAI's chat format" if is_openais else "the format of open models"
    if (measured := _measured(encoder, text, family.chat)) is not None:
        family, whose = replace(family, chat=measured), "its chat template"
    what = f"{type(encoder).__name__}, in {whose}"
    return ChatCounter(text, cache_of(encoder, "chat"), what, family.chat, family.media, exact=False)


def _measured(encoder: Any, text: EncoderText, chat_format: ChatFormat) -> ChatFormat | None:
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
    return replace(chat_format, constant=constant, per_message=around, merged=0)


def _of_family(family: Family, what: str, chat_format: ChatFormat | None = None) -> MessageCounter:
    """A row, with the model's own vocabulary where it is installed."""
    vocabulary, chat_format = family.vocabulary, chat_format or family.chat
    encoding, estimate, own = vocabulary.encoding, vocabulary.estimate, vocabulary.own
    text: CountText = TiktokenText(encoding)
    if estimate is not None:
        text = ScaledText(TiktokenText(encoding), estimate)
        own = own if own and is_installed(own.extra) else None
        text = OwnText(own, text) if own else text
    cache = cache_named("chat", encoding, estimate, own, chat_format, family.media)
    exact, borrowed = estimate is None, estimate is not None and own is None
    return ChatCounter(text, cache, what, chat_format, family.media, exact=exact, borrowed=borrowed)


def _described(shown: str, vocabulary: Vocabulary, whose: str) -> str:
    """Say what counts, how exact that is, and what to install for more."""
    encoding, estimate, own = vocabulary.encoding, vocabulary.estimate, vocabulary.own
    if estimate is None:
        return f"{shown}: {encoding}, in {whose} (exact)"
    if own is None:
        return f"{shown}: estimated as {estimate.describe(encoding)}, in {whose}"
    extra = EXTRAS[own.extra]
    if is_installed(own.extra):
        return f"{shown}: {extra.package} {own.edition}, in {whose} (texts within a few tokens)"
    more = f'pip install "langchain-tokenbuffer[{own.extra}]"' + (f" ({extra.needs})" if extra.needs else "")
    return f"{shown}: estimated as {estimate.describe(encoding)}, in {whose}; nearer with {more}"


def _of_model(model: BaseLanguageModel[Any], exact: Exact, options: dict[str, Any]) -> MessageCounter:
    """Choose by who defined the model's counting, so that subclasses and forks are recognised."""
    messages_by = _definer(model, "get_num_tokens_from_messages")
    if model.custom_get_token_ids is not None:
        return _custom(model, model.custom_get_token_ids, options, as_chat=messages_by.startswith(_OPENAI))
    if messages_by.startswith(_OPENAI):
        return _of_row(model, options)
    kind = type(model).__name__
    if _may_ask(messages_by, exact):
        counter = RemoteCounter if messages_by.startswith(providers.REMOTE_PACKAGES) else CallableCounter
        method = "get_num_tokens_from_messages"
        return counter(getattr(model, method), cache_of(model, method), f"{kind}.{method}")
    text_by = _definer(model, "get_num_tokens", "get_token_ids")
    if _may_ask(text_by, exact):
        return _of_own_texts(model, text_by)
    return _of_row(model, options)


def _definer(model: object, *methods: str) -> str:
    """Return the module that defines the first of these methods which LangChain's base does not."""
    modules = [next(base.__module__ for base in type(model).__mro__ if method in base.__dict__) for method in methods]
    return next((module for module in modules if module != _BASE), _BASE)


def _may_ask(definer: str, exact: Exact) -> bool:
    """Tell whether a model's own counting is to be asked: not LangChain's, which guesses."""
    return definer != _BASE and (exact == "remote" or not definer.startswith(providers.REMOTE_PACKAGES))


def _custom(
    model: object, ids: Callable[[str], list[int]], options: dict[str, Any], *, as_chat: bool
) -> MessageCounter:
    """`custom_get_token_ids` wins, also where the model's own counting of messages ignores it."""
    what = f"custom_get_token_ids of {type(model).__name__}"
    text = FunctionText(lambda text: len(ids(text)), what)
    if as_chat:
        family, chat_format = _row_of(model, options)
        return ChatCounter(text, cache_of(ids, "chat"), what, chat_format, family.media, exact=True)
    return TextCounter(text, cache_of(ids, "text"), what)


def _row_of(model: object, options: dict[str, Any]) -> tuple[Family, ChatFormat]:
    """Return what is known of a model, and the format in which it is asked."""
    family = providers.provider_of(model).family_of(model_name(model) or "", providers.place_of(model))
    chat_format = family.responses if family.responses and _uses_responses(model, options) else family.chat
    if _thinks(model, options):
        chat_format = replace(chat_format, added=chat_format.added + chat_format.thinking, thinking=0)
    if _has_task_budget(model, options):
        chat_format = replace(chat_format, added=chat_format.added + chat_format.task_budget)
    if chosen := chat_format.choice_tokens(options.get("tool_choice")):
        chat_format = replace(chat_format, tools=chat_format.tools + chosen)
    return family, chat_format


def _uses_responses(model: Any, options: dict[str, Any]) -> bool:
    """Tell whether langchain-openai asks OpenAI's Responses API for a model, by what is set on it and bound to it."""
    try:
        return bool(model._use_responses_api(options))  # noqa: SLF001  # where it is decided
    except Exception:  # noqa: BLE001  # another class, another release, a name that is none
        return False


def _thinks(model: object, options: dict[str, Any]) -> bool:
    """Tell whether a model is set to think: Claude's, by itself or among what Bedrock passes on, by either name."""
    passed_on = (getattr(model, field, None) for field in ("additional_model_request_fields", "model_kwargs"))
    settings = [
        options.get("thinking"),
        getattr(model, "thinking", None),
        *(each.get(name) for each in passed_on if isinstance(each, dict) for name in ("thinking", "reasoning_config")),
    ]
    return any(isinstance(each, dict) and each.get("type") == "enabled" for each in settings)


def _has_task_budget(model: object, options: dict[str, Any]) -> bool:
    """Tell whether a Claude is told how many tokens a task may take."""
    settings = options.get("output_config"), getattr(model, "output_config", None)
    return any(isinstance(each, dict) and bool(each.get("task_budget")) for each in settings)


def _of_row(model: BaseLanguageModel[Any], options: dict[str, Any], *, as_chat: bool = True) -> MessageCounter:
    """A model by its row, in chat format or as plain text."""
    name, kind, provider = model_name(model), type(model).__name__, providers.provider_of(model)
    family, chat_format = _row_of(model, options)
    vocabulary = family.vocabulary
    if provider.families[-1][1] is family and provider in (providers.OPENAI, providers.OPEN_MODELS):
        is_openais = _OPENAI in providers.place_of(model)
        unknown = f"The model name {name!r} of {kind} is not known"
        _warn_once(unknown if is_openais else f"{kind} has no tokenizer of its own")
    shown = f"{kind} {name}" if name else kind
    if as_chat:
        return _of_family(family, _described(shown, vocabulary, _whose(provider)), chat_format)
    what = _described(shown, vocabulary, "plain text")
    return TextCounter(TiktokenText(vocabulary.encoding), cache_named("text", vocabulary.encoding), what)


def _whose(provider: providers.Provider) -> str:
    return "OpenAI's chat format" if provider is providers.OPENAI else f"the format of {provider.name}"


def _of_name(name: str) -> MessageCounter:
    """A chat model by its name alone: as its provider's would be counted."""
    provider = providers.provider_of(name)
    family = provider.family_of(name)
    return _of_family(family, _described(name, family.vocabulary, _whose(provider)))


def _of_own_texts(model: BaseLanguageModel[Any], text_by: str) -> MessageCounter:
    """Count as LangChain's base class does: the text of each message, role first, summed."""
    if text_by.startswith(_OPENAI):
        return _of_row(model, {}, as_chat=False)
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
