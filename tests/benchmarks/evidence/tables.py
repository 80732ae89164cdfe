"""What the page on evidence shows of `results.json`: a pure function of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks.evidence.targets import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Section = dict[str, Any]
Row = dict[str, Any]
BEGIN, END = "<!-- evidence -->", "<!-- /evidence -->"
WHOLE = """\
**Agents: calls whole**, in %, with input cost at OpenAI-like / Anthropic-like prices, never trimming being 100. `*`:
some windows at fault. The last column counts their faults, over all sets."""
GAIN = """\
**What a setting gains**: calls whole, in points, against the same `trim_to` without it; what it costs more, at
Anthropic-like prices; and what it gains over the line that `trim_to` draws without it, at equal cost. Where the figures
are the same, there is no row."""
TITLES = {"recorded": "Real transcripts", "generated": "Conversations that a seeded script writes"}


def tables(sections: dict[str, Section]) -> str:
    """Return the page's tables."""
    return "\n\n".join(_section(TITLES[name], sections[name]) for name in TITLES if name in sections)


def pasted(page: str, sections: dict[str, Section]) -> str:
    """Return the page with the tables between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(sections)}\n\n{END}{after}"


def _section(title: str, section: Section) -> str:
    shared = [each for each in section["sets"] if each["for_all"]]
    agents, chats = [e for e in shared if not e["is_chat"]], [e for e in shared if e["is_chat"]]
    ours = [each for each in section["policies"] if each["ours"]]
    parts = [
        f"### {title}",
        table("set", ["conversations", "calls", "longest, tokens", "needs", "facts", "resampled"], _sets(section)),
        WHOLE,
        _by_set(section, agents, _whole, with_faults=True),
        "**Agents: facts held**, in %.",
        _by_set(section, agents, _facts),
        "**Chats: questions whose evidence is in the window**, in %, with cost and faults as above.",
        _by_set(section, chats, _whole, with_faults=True),
    ]
    if len(shared) < len(section["sets"]):
        parts += [
            "**Ours at every budget**: facts held / calls whole / cost at Anthropic-like prices.",
            _by_set({"policies": ours}, [e for e in section["sets"] if not e["is_chat"]], _all),
        ]
    if any(each["base"] for each in ours):
        parts += [
            GAIN,
            table("row", ["set", "gain", "more cost", "at equal cost"], _gains(section)),
        ]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in verdicts(section))])


def _sets(section: Section) -> list[list[str]]:
    keys = "conversations", "calls", "longest", "needs", "facts"
    return [[each["name"], *(f"{each[key]:,}" for key in keys), each["resampled"]] for each in section["sets"]]


def _by_set(section: Section, sets: Sequence[Row], cell: Any, *, with_faults: bool = False) -> str:
    """Return a table with a row for each policy that played one of the sets."""
    rows = []
    for policy in section["policies"]:
        found = [policy["sets"].get(each["name"]) for each in sets]
        if any(found):
            cells = [cell(row) if row else "-" for row in found]
            faults = [f"{sum(sum(row['faults'].values()) for row in found if row):,}"] * with_faults
            rows.append([policy["name"], *cells, *faults])
    return table("policy", [*(each["name"] for each in sets), *["at fault"] * with_faults], rows)


def _whole(row: Row) -> str:
    star = "*" if any(row["faults"].values()) else ""
    return f"{_interval(row['whole'])}; {_cost(row['openai'])} / {_cost(row['anthropic'])}{star}"


def _facts(row: Row) -> str:
    return _interval(row["facts"])


def _all(row: Row) -> str:
    return f"{100 * row['facts'][0]:.1f} / {100 * row['whole'][0]:.1f} / {100 * row['anthropic']:.1f}"


def _interval(values: Sequence[float]) -> str:
    value, low, high = (100 * each for each in values)
    return f"{value:.1f} ({low:.0f}-{high:.0f})"


def _cost(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def _gains(section: Section) -> Iterator[list[str]]:
    policies = {each["name"]: each for each in section["policies"] if each["ours"]}
    for policy in policies.values():
        if policy["base"] is None:
            continue
        for name, row in policy["sets"].items():
            base = policies[policy["base"]]["sets"][name]
            if all(row[key] == base[key] for key in ("facts", "whole", "anthropic")):
                continue
            value, low, high = (100 * each for each in row["gain"])
            more = 100 * (row["anthropic"] - base["anthropic"])
            equal = 100 * (row["whole"][0] - at_cost(plain_points(section, name), row["anthropic"]))
            gain = f"{value:+z.1f} ({low:+z.1f} to {high:+z.1f})"
            yield [policy["name"], name, gain, f"{more:+z.1f}", f"{equal:+z.1f}"]


def plain_points(section: Section, name: str) -> list[tuple[float, float]]:
    """Return cost and calls whole of ours at each `trim_to`, without any other setting."""
    plain = (each["sets"][name] for each in section["policies"] if each["ours"] and each["base"] is None)
    return sorted((row["anthropic"], row["whole"][0]) for row in plain)


def at_cost(points: Sequence[tuple[float, float]], cost: float) -> float:
    """Return what a line through points of cost and value has at a cost; outside it, what its end has."""
    below = [point for point in points if point[0] <= cost]
    above = [point for point in points if point[0] > cost]
    if not below or not above:
        return (below[-1] if below else above[0])[1]
    (low, one), (high, other) = below[-1], above[0]
    return one + (other - one) * (cost - low) / (high - low)


def table(first: str, heads: Sequence[str], rows: Any) -> str:
    """Return a table, the first column named."""
    lines = [[first, *heads], ["---", *["---"] * len(heads)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
