"""How near a count comes to the bill, by provider and kind of request.

Ours next to the model's own `get_num_tokens_from_messages` and to `count_tokens_approximately`, through the class that
a user would construct, with what the request says of thinking and of the tool that must be called, over the recorded
requests in ../shared/data, which are not part of this repository. A model whose own counting asks its provider, or
loads a tokenizer from a hub, is not asked.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from langchain_core.messages.utils import count_tokens_approximately

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._counting import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- counting: begin -->", "<!-- counting: end -->"
PACKAGES = ("ctok", "langchain-core", "langchain-openai", "langchain-tokenbuffer", "mistral-common", "splintr-rs")

PROVIDERS = (
    ("Claude", "claude"),
    ("Gemini", "gemini"),
    ("gpt-oss", "gpt-oss"),
    ("Llama", "llama"),
    ("Qwen", "qwen"),
    ("DeepSeek", "deepseek"),
    ("Mistral", "tral"),
    ("Grok", "grok"),
    ("Nova", "nova"),
    ("Cohere", "command"),
)
"""A provider's models, by what is in their names."""
REQUESTS = {
    "plain": "text",
    "tools": "tools",
    "tools+calls": "tools",
    "calls": "tools",
    "format": "response format",
    "reasoning kept": "reasoning kept",
    "image": "images",
    "pdf": "PDFs",
}
"""A category of the recorded requests to its row here; the others are of media whose size is not known."""
FAIR = 3  # tokens in a hundred that a count may be off the bill and is near it, or two tokens


class Request(NamedTuple):
    """A request as it was sent, and what was billed for it, in tokens."""

    provider: str
    kind: str
    model: BaseChatModel
    options: dict[str, Any]  # that a user binds to it, or sets on it
    messages: list[BaseMessage]
    tools: list[dict[str, Any]]
    response_format: dict[str, Any] | None
    billed: int


def recorded() -> Iterator[Request]:
    """Read the recorded requests; those are left out whose package is not installed."""
    reader = _reader()
    for line in (DATA / "billed_more.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kind = REQUESTS.get(reader.label(reader.category(row)))
        shape = _shape(row["kind"], reader)
        if kind is None:
            continue
        try:
            messages, tools, response_format = reader.BY[shape](reader.grow(row["request"]))
            model = reader.model_of(row["provider"], shape, row["model"])
        except (reader.Skip, ImportError, ValueError):
            continue
        _seal(messages, row["request"])
        options = _options(row["request"])
        yield Request(
            _provider(row, shape), kind, model, options, messages, tools, response_format, row["input_tokens"]
        )


def _seal(messages: list[BaseMessage], request: dict[str, Any]) -> None:
    """Put the signatures of Gemini's calls where langchain-google-genai keeps them; 800 letters each are recorded."""
    contents = request.get("contents")
    parts = [
        part
        for content in (contents if isinstance(contents, list) else ())
        if isinstance(content, dict) and isinstance(content.get("parts"), list)
        for part in content["parts"]
        if "functionCall" in part or "function_call" in part
    ]
    calls = [(message, call) for message in messages for call in getattr(message, "tool_calls", ())]
    for (message, call), part in zip(calls, parts, strict=False):
        if signature := part.get("thoughtSignature") or part.get("thought_signature"):
            kept = message.additional_kwargs.setdefault("__gemini_function_call_thought_signatures__", {})
            kept[call["id"]] = signature


def _options(request: dict[str, Any]) -> dict[str, Any]:
    """Return what a request says of thinking and of the tool that must be called, beside its messages and tools."""
    passed_on = request.get("additionalModelRequestFields") or {}
    said = {
        "thinking": request.get("thinking") or passed_on.get("thinking") or passed_on.get("reasoning_config"),
        "tool_choice": request.get("tool_choice") or (request.get("toolConfig") or {}).get("toolChoice"),
    }
    return {name: value for name, value in said.items() if value}


def _reader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("billed_requests", DATA / "billed_requests.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(DATA)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_SHAPES = {"responses": "openai.responses", "anthropic": "anthropic.messages", "converse": "bedrock.converse"}


def _shape(kind: str, reader: ModuleType) -> str:
    last = kind.rpartition(".")[2]
    return kind if kind in reader.BY else _SHAPES.get(last, last)


def _provider(row: dict[str, Any], shape: str) -> str:
    name = row["model"].lower()
    if row["provider"] in ("openai", "azure", "openrouter") and re.search(r"gpt-[3-9]|(?:^|/)o\d", name):
        return "OpenAI Responses" if shape == "openai.responses" else "OpenAI chat"
    return next((provider for provider, part in PROVIDERS if part in name), "others")


def ours(request: Request) -> int:
    """Count with the package."""
    counter = TokenCounter(request.model.bind(**request.options))
    return counter.count(request.messages, request.tools, request.response_format)


def without_extras(request: Request) -> int | None:
    """Count with the package where no extra is installed."""
    with mock.patch.object(resolve, "is_installed", return_value=False):
        return ours(request)


def model(request: Request) -> int | None:
    """Count as langchain-openai does; the others guess, ask or load something."""
    counting = type(request.model).get_num_tokens_from_messages
    if not counting.__module__.startswith("langchain_openai"):
        return None
    try:
        return request.model.get_num_tokens_from_messages(request.messages, request.tools or None)
    except Exception:  # noqa: BLE001  # a name or a message that it does not know
        return None


def approximately(request: Request) -> int | None:
    """Count as LangChain's middleware does by default."""
    try:
        return count_tokens_approximately(request.messages, tools=[*request.tools])
    except Exception:  # noqa: BLE001
        return None


COUNTERS: dict[str, Callable[[Request], int | None]] = {
    "ours": ours,
    "without_extras": without_extras,
    "model": model,
    "approximately": approximately,
}


def measured() -> dict[str, Any]:
    """Count every request with everything; the result is a section of `results.json`."""
    found: dict[tuple[str, str], list[tuple[int, dict[str, int | None]]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for request in recorded():
            counts = {name: count(request) for name, count in COUNTERS.items()}
            found.setdefault((request.provider, request.kind), []).append((request.billed, counts))
    order = ["OpenAI chat", "OpenAI Responses", *(name for name, _ in PROVIDERS), "others"]
    kinds = list(dict.fromkeys(REQUESTS.values()))
    rows = [
        {"provider": provider, "request": kind, "n": len(those), **{name: _figures(those, name) for name in COUNTERS}}
        for provider in order
        for kind in kinds
        if (those := found.get((provider, kind)))
    ]
    return {"versions": _versions(), "rows": rows}


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _figures(those: list[tuple[int, dict[str, int | None]]], name: str) -> dict[str, float] | None:
    """Return shares of the requests, and the highest ratio; nothing where it counts less than half of them."""
    known = [(count, billed) for billed, counts in those if (count := counts[name]) is not None]
    if 2 * len(known) < len(those):
        return None
    shares = {
        "exact": [count == billed for count, billed in known],
        "near": [abs(count - billed) <= max(2, billed * FAIR / 100) for count, billed in known],
        "low": [billed - count > max(2, billed * FAIR / 100) for count, billed in known],
    }
    highest = round(max(count / billed for count, billed in known), 2)
    return {**{key: round(sum(of) / len(of), 2) for key, of in shares.items()}, "highest": highest}


def table(section: dict[str, Any]) -> str:
    """Return the page's table, a pure function of the section."""
    lines = [
        "| provider | requests | n | exact | near | low | highest | without extras | model's own | approximately |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in section["rows"]:
        figures = row["ours"]
        shares = " | ".join(f"{figures[key]:.0%}" for key in ("exact", "near", "low"))
        others = " | ".join(_short(row[name]) for name in list(COUNTERS)[1:])
        lines.append(
            f"| {row['provider']} | {row['request']} | {row['n']} | {shares} | {figures['highest']:.1f} | {others} |"
        )
    return "\n".join(lines)


def _short(figures: dict[str, float] | None) -> str:
    return f"{figures['near']:.0%}, {figures['low']:.0%}" if figures else "-"


def pasted(page: str, section: dict[str, Any]) -> str:
    """Return the page with the table of a section."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table(section)}\n\n{END}{after}"


def main() -> None:
    """Print the table and write it down, where the recorded requests are at hand."""
    print("\n## Counting, against what was billed\n")
    if not DATA.is_dir():
        print("The recorded requests are not beside this checkout.")
        return
    section = measured()
    print(table(section))
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    results["counting"] = section
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(pasted(PAGE.read_text(encoding="utf-8"), section), encoding="utf-8")


if __name__ == "__main__":
    main()
