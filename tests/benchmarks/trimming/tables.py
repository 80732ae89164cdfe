"""What the page on trimming and the README show of `results.json`: pure functions of it."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.trimming.measuring import FAULTS
from tests.benchmarks.trimming.policies import MIDDLEWARE

Section = dict[str, Any]
BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
FIGURES_BEGIN, FIGURES_END = "<!-- figures -->", "<!-- /figures -->"
FIGURES = ("Airline agents", "English chat")
"""The sets whose cost the README shows."""
TITLES = {"recorded": "Real transcripts", "generated": "Generated conversations"}


def tables(results: dict[str, Section]) -> str:
    """Return the page's tables; the generated conversations' fold. Other sections are other benchmarks'."""
    shown = {name: section for name, section in results.items() if name in TITLES}
    return "\n\n".join(
        _folded(_section(TITLES[name], section))
        if name == "generated" and len(shown) > 1
        else _section(TITLES[name], section)
        for name, section in shown.items()
    )


def _folded(text: str) -> str:
    summary = "The same on conversations that a seeded script writes, for everybody to repeat"
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def _section(title: str, section: Section) -> str:
    calls = sum(each["calls"] for each in section["sets"])
    return "\n".join(
        [
            f"**{title}, {calls:,} calls**: windows at fault (invalid: a tool result without its",
            "call, a call without its results, or no human message first); how much of the",
            "requests a prompt cache can serve again; how often each token was tokenized (ours",
            "once; more where a message larger than the budget is shortened); time per call, that",
            "of our middleware being 1.",
            "",
            *_faults(section),
            "",
            f"**{title}**: input cost at OpenAI-like / Anthropic-like prices, never trimming being",
            "100, and how much of the conversation the model sees. `*`: some windows at fault.",
            "-: not played; `results.json` says why.",
            "",
            *_costs(section),
        ]
    )


def _faults(section: Section) -> list[str]:
    heads = [fault.replace("_", " ") for fault in FAULTS]
    work = ["prefix reused", "tokenized", "time"]
    return [
        _line("policy", "calls", *heads, *work),
        _line("---", *["--:"] * (1 + len(heads) + len(work))),
        *(_line(each["name"], *_counted(each, section)) for each in played(section)),
        *(_line(name, "not installed", *[""] * len([*heads, *work])) for name in absent(section)),
    ]


def _counted(policy: dict[str, Any], section: Section) -> list[str]:
    rows = list(policy["sets"].values())

    def total(key: str) -> int:
        return sum(int(row[key]) for row in rows)

    faults = [sum(row["faults"][fault] for row in rows) for fault in FAULTS]
    return [
        f"{total('calls'):,}",
        *(f"{count:,}" for count in faults),
        f"{100 * total('reusable') / total('sent'):.0f} %" if total("sent") else "-",
        _times(tokenized(policy)),
        _times(_time(policy, section)),
    ]


def _costs(section: Section) -> list[str]:
    sets = section["sets"]
    heads = [f"{each['name']}, {each['max_tokens']:,}" for each in sets]
    return [
        _line("policy", *heads),
        _line("---", *["---"] * len(heads)),
        *(_line(each["name"], *(_cost(each["sets"].get(one["name"])) for one in sets)) for each in played(section)),
    ]


def _cost(row: dict[str, Any] | None) -> str:
    if row is None or row["openai"] is None:
        return "-"
    star = "*" if any(row["faults"].values()) else ""
    prices = f"{100 * row['openai']:.0f} / {100 * row['anthropic']:.0f}"
    return f"{prices}, {100 * row['kept']:.0f} %{star}"


def played(section: Section) -> list[dict[str, Any]]:
    """Return the policies that played anything."""
    return [each for each in section["policies"] if each["sets"]]


def absent(section: Section) -> list[str]:
    """Return the names of the policies whose package was not there."""
    versions = section["versions"]
    return [each["name"] for each in section["policies"] if versions[each["package"]] is None]


def tokenized(policy: dict[str, Any]) -> float:
    """Return how often a token came out of the tokenizer, over all data sets."""
    rows = policy["sets"].values()
    times: float = sum(row["tokenized"] for row in rows) / sum(row["distinct"] for row in rows)
    return times


def _time(policy: dict[str, Any], section: Section) -> float:
    """Return how long its calls take, ours being 1 on the same data sets."""
    median = section["timing"]["median_ms"]
    calls = {name: row["calls"] for name, row in policy["sets"].items()}

    def spent(name: str) -> float:
        milliseconds: float = sum(median[name][each] * count for each, count in calls.items())
        return milliseconds

    return spent(policy["name"]) / spent(MIDDLEWARE)


def _times(ratio: float) -> str:
    if 0 < ratio < 0.1:
        return "< 0.1x"
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def figures(results: dict[str, Section]) -> str:
    """Return the README's few lines: ours, never trimming, and LangChain's own ways, on recorded conversations."""
    section = results["recorded"]
    sets = [each for each in section["sets"] if each["name"] in FIGURES]
    rows = {each["name"]: each for each in played(section)}
    return "\n".join(
        [
            _line("on recorded conversations", *(_set_head(each) for each in sets), "faults"),
            _line("---", *["--:"] * (len(sets) + 1)),
            *(_line(name, *_few(rows[name], sets)) for name in SHOWN),
        ]
    )


SHOWN = (
    MIDDLEWARE,
    "never trimming",
    "`trim_messages`, as recommended",
    "classic `ConversationTokenBufferMemory`",
    "`SummarizationMiddleware`, its own calls free",
    "`ContextEditingMiddleware`",
)
"""The policies in the README's lines."""


def _set_head(each: dict[str, Any]) -> str:
    return f"{each['name']}, {each['max_tokens']:,} tokens: cost, seen"


def _few(policy: dict[str, Any], sets: list[dict[str, Any]]) -> list[str]:
    rows = policy["sets"]
    costs = [rows.get(each["name"]) for each in sets]
    faults = sum(sum(row["faults"].values()) for row in rows.values())
    calls = sum(row["calls"] for row in rows.values())
    shown = [f"{100 * row['openai']:.0f}, {100 * row['kept']:.0f} %" if row else "-" for row in costs]
    return [*shown, f"{faults:,} in {calls:,} calls"]


def pasted(page: str, results: dict[str, Section]) -> str:
    """Return the page on trimming with the tables between its markers."""
    return _between(page, BEGIN, END, tables(results))


def with_figures(readme: str, results: dict[str, Section]) -> str:
    """Return the README with its lines between its markers."""
    return _between(readme, FIGURES_BEGIN, FIGURES_END, figures(results))


def _between(page: str, begin: str, end: str, text: str) -> str:
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
