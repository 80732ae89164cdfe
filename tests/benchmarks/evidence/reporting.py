"""Runs the measurement, prints its tables and writes down what it found.

`results.json` has what was found under `evidence`, in a section for the recorded sets and one for the generated ones;
a run replaces the sections it measured. The page's tables and the pictures are drawn from it.
"""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

from langchain_tokenbuffer import vocabularies
from tests.benchmarks.evidence.running import measured, players
from tests.benchmarks.evidence.sets import sources
from tests.benchmarks.evidence.tables import pasted, tables
from tests.benchmarks.trimming.picture import EVIDENCE, draw
from tests.benchmarks.trimming.running import missing

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS = BENCHMARKS / "results.json"
KEY = "evidence"
PICTURES = {
    "recorded": BENCHMARKS / "evidence.png",
    "generated": BENCHMARKS / "evidence-generated.png",
}
PAGE = BENCHMARKS.parents[1] / "docs" / "evidence.md"


def main() -> None:
    """Play everything that is there, print the tables, and write down what was found."""
    for encoding in ("o200k_base", "cl100k_base"):  # tokentrim counts with the latter
        vocabularies.load(encoding)
    began = time.process_time()
    found = {name: _section(name) for name in sources()}
    print("## Evidence\n")
    print(tables(found))
    print(f"\n{time.process_time() - began:.0f} s of processor time.")
    if missing():
        print(f"\nNot installed: {', '.join(missing())}; `make bench` installs them.")
        print("Nothing was written.")
        return
    _write(found)


def _section(name: str) -> dict[str, Any]:
    sets = list(sources()[name]())
    progress: Any = importlib.import_module("tqdm")  # it has no types
    total = sum(len(players(each)) for each in sets)
    with progress.tqdm(total=total, desc=f"evidence, {name}", unit="policy", mininterval=0.5) as bar:
        return measured(sets, bar.update)


def _write(found: dict[str, dict[str, Any]]) -> None:
    """Replace the sections that were measured; what is drawn from them follows."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    results[KEY] = {**results.get(KEY, {}), **found}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, section in found.items():
        draw(section, PICTURES[name], EVIDENCE)
    PAGE.write_text(pasted(PAGE.read_text(encoding="utf-8"), results[KEY]), encoding="utf-8")
