"""What the SQL measurements found: `results.json` keeps it, and the pages' tables are drawn from that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).with_name("results.json")
DOCS = Path(__file__).resolve().parents[2] / "docs"


class Figure(NamedTuple):
    """Two things that were measured in turns on one database."""

    database: str
    what: str
    first: float  # milliseconds,
    second: float  # or bytes, and messages

    @property
    def ratio(self) -> float:
        """The first, in the second's."""
        return self.first / self.second

    def row(self) -> str:
        """Return a row of what is printed."""
        return f"| {self.database}: {self.what} | {self.first:,.2f} | {self.second:,.2f} | {self.ratio:.2f} |"


class Table(NamedTuple):
    """A section of `results.json`, and the page on which it is a table."""

    section: str
    page: Path

    def figures(self) -> list[Figure]:
        """Return what was measured."""
        return [Figure(*each) for each in json.loads(RESULTS.read_text(encoding="utf-8")).get(self.section, [])]

    def write(self, figures: Sequence[Figure]) -> None:
        """Put figures into `results.json`, in the place of older ones of the same things, and draw the table anew."""
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
        known = {figure[:2]: figure for figure in [*self.figures(), *figures]}
        results[self.section] = [[*each[:2], round(each.first, 3), round(each.second, 3)] for each in known.values()]
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self.page.write_text(self.pasted(self.page.read_text(encoding="utf-8")), encoding="utf-8")

    def pasted(self, page: str) -> str:
        """Return the page with the table, a pure function of the section."""
        begin, end = (f"<!-- {self.section}: {mark} -->" for mark in ("begin", "end"))
        before, _, rest = page.partition(begin)
        return f"{before}{begin}\n\n{drawn(self.figures())}\n\n{end}{rest.partition(end)[2]}"


SCALE = Table("sql", DOCS / "benchmarks.md")
RECALL = Table("sql_recall", DOCS / "sql.md")


def drawn(figures: Sequence[Figure]) -> str:
    """Return a table: a row for what was measured, a column a database."""
    found = {figure[:2]: figure for figure in figures}
    databases = list(dict.fromkeys(figure.database for figure in figures))
    lines = [f"| what | {' | '.join(databases)} |", f"| --- |{' ---: |' * len(databases)}"]
    for what in dict.fromkeys(figure.what for figure in figures):
        cells = [_short(found[each, what].ratio) if (each, what) in found else "-" for each in databases]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(ratio: float) -> str:
    digits = 0 if ratio >= 10 else 2 if ratio >= 0.1 else 3
    return f"{ratio:,.{digits}f}"
