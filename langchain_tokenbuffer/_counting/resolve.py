"""Which pricing a model, an encoding name or a callable gets.

Models are told apart by who defined their counting, so that subclasses and forks are recognised
and no provider's package is imported.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableWithFallbacks
from langchain_core.runnables.configurable import DynamicRunnable

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._counting.count_cache import cache_named, cache_of, cache_of_callable
from langchain_tokenbuffer._counting.images import Area, Patches, Squares, Tiles
from langchain_tokenbuffer._counting.message_counters import (
    CallableCounter,
    ChatCounter,
    ChatFormat,
    MessageCounter,
    RemoteCounter,
    TextCounter,
)
from langchain_tokenbuffer._counting.tokenizers import (
    EncoderText,
    FunctionText,
    ScaledText,
    TiktokenText,
)
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable

Exact: TypeAlias = Literal["local", "remote"]

_BASE = BaseLanguageModel.__module__
_OPENAI = "langchain_openai."
_REMOTE = ("langchain_anthropic", "langchain_google", "langchain_aws", "langchain_cohere")
_ESTIMATE = 1.5
"""Tokens of models without a local tokenizer, as a multiple of `cl100k_base`'s. Claude's text in 80
billed requests is between 1.0 (Sonnet 4.5) and 1.43 (Opus 4.8) times that."""

_ENCODINGS = (
    # model names that contain this -> encoding; the first match wins
    (r"gpt-oss", "o200k_harmony"),
    (r"(?<![a-z])(?:chat)?gpt-(?:4o|4\.[15]|[5-9])", "o200k_base"),
    (r"(?<![a-z])gpt-(?:4|3\.?5)", "cl100k_base"),
    (r"chatgpt|codex-mini", "o200k_base"),
    # "o1" and the like mean OpenAI's only where the name begins: marco-o1 is another's
    (r"(?:^|[/:.])o[1-9](?![a-z0-9])", "o200k_base"),
)

_REASONING = ChatFormat(
    call=7, tools=85, merged=0, billed=-1, parallel=False, images=Tiles(75, 150)
)
"""Fitted on 8 requests of gpt-5 and gpt-5.4-mini with tools, 4 of them with calls, and 4 plain ones
of o3-mini, gpt-5 and gpt-5.6, residual 0. Whether a system message shares its place with the tools
is not known, so nothing is taken off."""
_FORMATS = (
    # model names that contain this -> what the format costs; the first match wins
    (r"gpt-3\.5-turbo-0301", ChatFormat(per_message=4, per_name=-1)),
    (r"gpt-4o-mini", ChatFormat(images=Tiles(2833, 5667))),
    (r"gpt-4\.1-mini", ChatFormat(images=Patches(1.62))),
    (r"gpt-4\.1-nano", ChatFormat(images=Patches(2.46))),
    (r"computer-use", ChatFormat(images=Tiles(65, 129))),
    (r"gpt-5-nano", replace(_REASONING, images=Patches(2.46))),
    (r"gpt-5-mini", replace(_REASONING, images=Patches(1.62))),
    (r"(?:^|[/:.])o4-mini", replace(_REASONING, images=Patches(1.72))),
    # Not published when this was written: the dearest factor over the largest limit.
    (r"gpt-(?:5\.|[6-9])", replace(_REASONING, images=Patches(2.46, 2500))),
    (r"gpt-5", replace(_REASONING, images=Tiles(70, 140))),
    (r"gpt-oss|codex-mini|(?:^|[/:.])o[1-9](?![a-z0-9])", _REASONING),
)

_CLAUDE = ChatFormat(
    constant=32,
    call=12,
    result=24,
    tools=540,
    merged=0,
    response_format=140,
    parallel=False,
    typescript=False,
    images=Area(2576, 4784),
)
"""Fitted on 80 billed requests so that none is more than 15 % low: thinking takes about 29 tokens,
binding tools about 497, and 90 more where one must be called."""
_GEMINI = ChatFormat(typescript=False, images=Squares())
_ESTIMATED = (
    # modules or model names that contain this -> what the format costs
    (r"anthropic|claude", _CLAUDE),
    (r"google|gemini", _GEMINI),
)
_OPEN = ChatFormat(constant=5, per_message=4, parallel=False, typescript=False)
"""The dearest of ChatML (Qwen, SmolLM), Llama 3's and Gemma's: all put four tokens beside the role
around a message, and open a conversation with at most five."""
_warned: set[str] = set()


@dataclass(frozen=True)
class ModelName:
    """A model of which only the name is known: nothing to ask, and no key."""

    name: str


def message_counter_of(counter: object, exact: Exact) -> MessageCounter:
    counter = _unwrapped(counter)
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
    name = _shown(counter)
    if not callable(counter) or isinstance(counter, (type, Runnable)):
        msg = (
            "token_counter must be a chat model or LLM, an encoding name, a tokenizer or a "
            f"callable from a list of messages to an int; got {name}"
        )
        raise TypeError(msg)
    if inspect.iscoroutinefunction(inspect.unwrap(counter)) or inspect.iscoroutinefunction(
        getattr(counter, "__call__", None)  # noqa: B004  # an object whose __call__ is async
    ):
        msg = f"token_counter must return an int; {name} is a coroutine function"
        raise TypeError(msg)
    return CallableCounter(counter, cache_of_callable(counter), name)


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


def _of_encoding(name: str) -> MessageCounter:
    known = vocabularies.names()
    if name not in known:
        msg = f"token_counter {name!r} is not an encoding of tiktoken; known are {', '.join(known)}"
        suggestion = _encoding_of(name)
        if suggestion is not None:
            msg += f". The model of that name uses {suggestion!r}"
        raise ValueError(msg)
    return _chat(name, f"{name}, in OpenAI's chat format")


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
    kind = type(encoder).__name__
    form = _measured(encoder, text) if getattr(encoder, "chat_template", None) else None
    whose = "its chat template"
    if form is None:
        is_openais = hasattr(encoder, "encode_ordinary")
        form = ChatFormat() if is_openais else _OPEN
        whose = "OpenAI's chat format" if is_openais else "the format of open models"
    memory = cache_of(encoder, "chat")
    return ChatCounter(text, memory, f"{kind}, in {whose}", form, exact=False)


def _measured(encoder: Any, text: EncoderText) -> ChatFormat | None:
    """Measure a chat template: what it puts around a message and around all of them.

    Templates differ between roles; the dearer of a question and a reply stands for every message.
    """
    talk = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    try:
        sizes = [
            len(
                encoder.apply_chat_template(
                    talk[:n], tokenize=True, add_generation_prompt=True, return_dict=False
                )
            )
            for n in (1, 2, 3)
        ]
    except Exception:  # noqa: BLE001  # a template may refuse anything
        return None
    user, assistant = text("user") + text("x"), text("assistant") + text("x")
    around = max(sizes[1] - sizes[0] - assistant, sizes[2] - sizes[1] - user, 0)
    return ChatFormat(
        constant=max(0, sizes[0] - around - user),
        per_message=around,
        merged=0,
        parallel=False,
        typescript=False,
    )


def _chat(
    name: str, what: str, form: ChatFormat | None = None, *, borrowed_tokenizer: bool = False
) -> MessageCounter:
    form = form or ChatFormat()
    memory = cache_named("chat", name, form)
    return ChatCounter(
        TiktokenText(name), memory, what, form, borrowed_tokenizer=borrowed_tokenizer
    )


def _estimated(shown: str, *said: str) -> MessageCounter:
    """A model that cannot be asked here: its provider's format over a dearer encoding."""
    names = " ".join(said).lower()
    form = next((form for part, form in _ESTIMATED if re.search(part, names)), ChatFormat())
    text = ScaledText(TiktokenText(vocabularies.FALLBACK), _ESTIMATE)
    what = f"{shown}: estimated as {_ESTIMATE} x {vocabularies.FALLBACK}"
    memory = cache_named("estimate", form)
    return ChatCounter(text, memory, what, form, borrowed_tokenizer=True)


def _of_model(model: BaseLanguageModel[Any], exact: Exact) -> MessageCounter:
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
        memory = cache_of(model, "get_num_tokens_from_messages")
        if messages_by.startswith(_REMOTE):
            return RemoteCounter(model.get_num_tokens_from_messages, memory, what)
        if messages_by != _BASE:
            return CallableCounter(model.get_num_tokens_from_messages, memory, what)
    by = ids_by if text_by == _BASE else text_by
    if by != _BASE and (exact == "remote" or not by.startswith(_REMOTE)):
        return _as_text(model, by)
    if not any(base.__module__.startswith(_REMOTE) for base in kind.__mro__):
        # LangChain would load a GPT-2 tokenizer from a hub.
        _warn_once(f"{kind.__name__} has no tokenizer of its own")
    modules = (base.__module__ for base in kind.__mro__)
    return _estimated(kind.__name__, *modules, name_of(model) or "")


def _definer(kind: type, method: str) -> str:
    """Return the module of the class that defines a method."""
    return next(base.__module__ for base in kind.__mro__ if method in base.__dict__)


def _custom(
    model: BaseLanguageModel[Any], ids: Callable[[str], list[int]], messages_by: str
) -> MessageCounter:
    """`custom_get_token_ids` wins, also where the model's own counting of messages ignores it."""
    what = f"custom_get_token_ids of {type(model).__name__}"
    text = FunctionText(lambda text: len(ids(text)), what)
    if messages_by.startswith(_OPENAI):
        return ChatCounter(text, cache_of(ids, "chat"), what)
    return TextCounter(text, cache_of(ids, "text"), what)


def _openai_chat(model: BaseLanguageModel[Any]) -> MessageCounter:
    name = name_of(model)
    kind = type(model).__name__
    encoding = _encoding_of(name) if name else None
    if encoding is None:
        _warn_unknown(name, kind)
        what = f"{kind} {name}: estimated as {vocabularies.FALLBACK}, in OpenAI's chat format"
        return _chat(vocabularies.FALLBACK, what, borrowed_tokenizer=True)
    return _known(str(name), encoding, f"{kind} {name}")


def _of_name(name: str) -> MessageCounter:
    """A chat model nobody made: as its provider's would be counted."""
    encoding = _encoding_of(name)
    return _estimated(name, name) if encoding is None else _known(name, encoding, name)


def _known(name: str, encoding: str, shown: str) -> MessageCounter:
    form = next((form for part, form in _FORMATS if re.search(part, name.lower())), None)
    return _chat(encoding, f"{shown}: {encoding}, in OpenAI's chat format (exact)", form)


def _as_text(model: BaseLanguageModel[Any], text_by: str) -> MessageCounter:
    """Price as LangChain's base class does: the text of each message, role first, summed."""
    kind = type(model).__name__
    if not text_by.startswith(_OPENAI):
        what = f"{kind}.get_num_tokens"
        text = FunctionText(model.get_num_tokens, what)
        return TextCounter(text, cache_of(model, "get_num_tokens"), what)
    name = name_of(model)
    encoding = _encoding_of(name) if name else None
    what = f"{kind} {name}: {encoding}, as text (exact)"
    if encoding is None:
        _warn_unknown(name, kind)
        encoding = vocabularies.FALLBACK
        what = f"{kind} {name}: estimated as {encoding}, as text"
    return TextCounter(TiktokenText(encoding), cache_named("text", encoding), what)


def name_of(model: object) -> str | None:
    """Return the name that says most: a deployment's only where it shows the model behind it."""
    model = _unwrapped(model)
    names = [
        getattr(model, field, None)
        for field in ("tiktoken_model_name", "model_name", "deployment_name", "model", "model_id")
    ]
    given = [name for name in names if isinstance(name, str) and name]
    known = (name for name in given if _encoding_of(name) is not None)
    return given[0] if names[0] and given else next(known, given[0] if given else None)


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


def _warn_unknown(name: str | None, of: str) -> None:
    _warn_once(f"The model name {name!r} of {of} is not known")


def _warn_once(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"{what}; counting with {vocabularies.FALLBACK!r}. Set tiktoken_model_name or "
            f"custom_get_token_ids on the model, or pass another token_counter.",
            stacklevel=2,
        )
