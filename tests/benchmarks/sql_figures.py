"""What the SQL measurements found: `results.json` keeps it, and the page's table is drawn from that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- sql: begin -->", "<!-- sql: end -->"


class Figure(NamedTuple):
    """Two things that were measured in turns on one database."""

    database: str
    what: str
    first: float  # milliseconds
    second: float

    @property
    def ratio(self) -> float:
        """The first, in the second's."""
        return self.first / self.second

    def row(self) -> str:
        """Return a row of what is printed."""
        return f"| {self.database}: {self.what} | {self.first:.2f} ms | {self.second:.2f} ms | {self.ratio:.2f} |"


def write(figures: Sequence[Figure]) -> None:
    """Put figures into `results.json`, in the place of older ones of the same things, and the table onto the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    known = {figure[:2]: figure for figure in (Figure(*each) for each in results.get("sql", []))}
    known |= {figure[:2]: figure for figure in figures}
    results["sql"] = [[*figure[:2], round(figure.first, 3), round(figure.second, 3)] for figure in known.values()]
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(pasted(PAGE.read_text(encoding="utf-8"), results["sql"]), encoding="utf-8")


def table(section: Sequence[Sequence[Any]]) -> str:
    """Return the page's table, a pure function of the section: a row for what was measured, a column a database."""
    found = {figure[:2]: figure for figure in (Figure(*each) for each in section)}
    databases = list(dict.fromkeys(database for database, _ in found))
    lines = [f"| what | {' | '.join(databases)} |", f"| --- |{' ---: |' * len(databases)}"]
    for what in dict.fromkeys(what for _, what in found):
        cells = [_short(found[each, what].ratio) if (each, what) in found else "-" for each in databases]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(ratio: float) -> str:
    digits = 0 if ratio >= 10 else 2 if ratio >= 0.1 else 3
    return f"{ratio:.{digits}f}"


def pasted(page: str, section: Sequence[Sequence[Any]]) -> str:
    """Return the page with the table of a section."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table(section)}\n\n{END}{after}"
