"""How near a count comes to the bill, by kind of request.

Ours next to langchain-openai's own and `count_tokens_approximately`, over the recorded OpenAI
requests in ../shared/data, which are not part of this repository. An error is what a count is off,
as a share of the bill: the median of its size, and the lowest and highest with their sign.
"""

from __future__ import annotations

import json
import statistics
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.messages.utils import count_tokens_approximately
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenCounter

if TYPE_CHECKING:
    from collections.abc import Callable

BILLS = Path(__file__).resolve().parents[3] / "shared" / "data" / "billed_usage.jsonl"


class Request(NamedTuple):
    """A request as it was sent, and what was billed for it, in tokens."""

    model: ChatOpenAI
    messages: list[BaseMessage]
    tools: list[dict[str, Any]]
    response_format: dict[str, Any] | None
    billed: int

    @property
    def category(self) -> str:
        """What makes it special to count."""
        if "search" in self.model.model_name:
            return "search models"
        if self.response_format and self.response_format["type"] == "json_schema":
            return "response format"
        calls = any(getattr(message, "tool_calls", None) for message in self.messages)
        if calls:
            return "tools and calls" if self.tools else "calls"
        if self.tools:
            return "tools"
        reasons = not self.model.model_name.startswith(("gpt-4", "gpt-3"))
        return "plain, reasoning model" if reasons else "plain"


def requests() -> list[Request]:
    """Read the recorded OpenAI requests."""
    lines = BILLS.read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "openai.chat"]
    return [
        Request(
            ChatOpenAI(model=row["model"], api_key=SecretStr("unused")),
            convert_to_messages([{"content": None, **m} for m in row["request"]["messages"]]),
            row["request"].get("tools", []),
            row["request"].get("response_format"),
            row["input_tokens"],
        )
        for row in rows
    ]


def ours(request: Request) -> int:
    """Count with the package."""
    counter = TokenCounter(request.model)
    return counter.count(request.messages, request.tools, request.response_format)


def langchain_openai(request: Request) -> int:
    """Count as langchain-openai does; it says itself that it leaves tools out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return request.model.get_num_tokens_from_messages(request.messages, request.tools or None)


def approximately(request: Request) -> int:
    """Count as LangChain's middleware does by default."""
    return count_tokens_approximately(request.messages, tools=[*request.tools])


COUNTERS: dict[str, Callable[[Request], int]] = {
    "langchain-tokenbuffer": ours,
    "langchain-openai": langchain_openai,
    "count_tokens_approximately": approximately,
}


def table() -> str:
    """Return the errors by category and counter, as a markdown table."""
    by_category: dict[str, list[Request]] = {}
    for request in sorted(requests(), key=lambda request: request.category):
        by_category.setdefault(request.category, []).append(request)
    lines = [
        f"| request | n | {' | '.join(COUNTERS)} |",
        f"| --- | --- | {' | '.join('---' for _ in COUNTERS)} |",
    ]
    for category, those in by_category.items():
        cells = [_errors(those, count) for count in COUNTERS.values()]
        lines.append(f"| {category} | {len(those)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _errors(those: list[Request], count: Callable[[Request], int]) -> str:
    errors = [count(request) / request.billed - 1 for request in those]
    if not any(errors):
        return "exact"
    middle = statistics.median(map(abs, errors))
    return f"{middle:.1%} ({min(errors):+.1%} to {max(errors):+.1%})"


def main() -> None:
    """Print the table, where the recorded requests are at hand."""
    print("\n## Counting, against what OpenAI billed\n")
    if not BILLS.is_file():
        print("The recorded requests are not beside this checkout.")
        return
    print("Median error (lowest to highest).\n")
    print(table())


if __name__ == "__main__":
    main()
