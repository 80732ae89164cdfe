"""Runs the benchmark, prints its tables and writes down what it found.

`results.json` has a section for the recorded conversations and one for the generated ones; a run
replaces the section it measured. The tables of `docs/trimming.md`, the README's lines and the pictures are drawn from
it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from langchain_tokenbuffer import vocabularies
from tests.benchmarks.trimming.conversations import sources
from tests.benchmarks.trimming.picture import draw
from tests.benchmarks.trimming.running import calls, measured, missing
from tests.benchmarks.trimming.tables import pasted, tables, with_figures
from tests.benchmarks.trimming.targets import verdicts

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS = BENCHMARKS / "results.json"
PICTURES = {
    "recorded": BENCHMARKS / "frontier.png",
    "generated": BENCHMARKS / "frontier-generated.png",
}
README = BENCHMARKS.parents[1] / "README.md"
PAGE = BENCHMARKS.parents[1] / "docs" / "trimming.md"
CHOICE = "TOKENBUFFER_BENCH_CONVERSATIONS"
"""Which conversations to play: `recorded` (where they are, the default), `generated` or `all`."""


def main() -> None:
    """Play everything, print the tables and the verdicts, and write them down."""
    for encoding in ("o200k_base", "cl100k_base"):  # tokentrim counts with the latter
        vocabularies.load(encoding)
    chosen = _chosen()
    found = {name: _section(name) for name in chosen}
    print("## Trimming\n")
    print(tables(found))
    for name, section in found.items():
        print(f"\n{name.capitalize()} conversations, {section['timing']['seconds']:.0f} s.")
        print("\n".join(verdicts(section)))
    if missing():
        print(f"\nNot installed: {', '.join(missing())}; `make bench` installs them.")
        print("Nothing was written.")
        return
    _write(found)


def _chosen() -> list[str]:
    known = list(sources())
    wanted = os.environ.get(CHOICE, known[0])
    if wanted not in (*known, "all"):
        sys.exit(f"{CHOICE} is {wanted!r}; there are {', '.join(known)} and all.")
    return known if wanted == "all" else [wanted]


def _section(name: str) -> dict[str, Any]:
    data_sets = list(sources()[name]())
    progress: Any = importlib.import_module("tqdm")  # it has no types
    with progress.tqdm(total=calls(data_sets), desc=f"{name} conversations", unit="call", mininterval=0.5) as bar:
        return measured(data_sets, bar.update)


def _write(found: dict[str, dict[str, Any]]) -> None:
    """Replace the sections that were measured; what is drawn from them follows."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    both = {**known, **found}
    results = {name: both[name] for name in sorted(both, key=[*PICTURES, *both].index)}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, section in found.items():
        draw(section, PICTURES[name])
    for path, drawn in ((PAGE, pasted), (README, with_figures)):
        path.write_text(drawn(path.read_text(encoding="utf-8"), results), encoding="utf-8")
