"""What recall brings back, at one total budget: prints the table of `docs/recall.md` and writes it there."""

from __future__ import annotations

from langchain_tokenbuffer import vocabularies
from tests.benchmarks.evidence.recalled import chats, measured, tables, write
from tests.benchmarks.evidence.reporting import BENCHMARKS, RESULTS
from tests.benchmarks.trimming import conversations

PAGE = BENCHMARKS.parents[1] / "docs" / "recall.md"


def main() -> None:
    """Play all chats, print the table, and write down what was found."""
    vocabularies.load("o200k_base")
    section = measured(chats())
    print("## Recall\n")
    print(tables(section))
    if not conversations.RECORDINGS.is_dir():
        print("\nThe real transcripts are not here. Nothing was written.")
        return
    write(section, RESULTS, PAGE)
