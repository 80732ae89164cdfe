"""What single pages say is so."""

from __future__ import annotations

import re
from pathlib import Path

import langchain_classic.memory as classic_memory
import pytest

from langchain_tokenbuffer._counting.overflow import overflow_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}


NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\n\n")[0]


@pytest.mark.parametrize("page", DOCS)
def test_a_page_is_in_the_navigation(page: str) -> None:
    assert re.search(rf": {page}\.md$", NAVIGATION, re.MULTILINE)


def section(page: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return DOCS[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", [name for name in classic_memory.__all__ if name.endswith("Memory")])
def test_every_classic_memory_has_a_line_of_its_own_in_migrating(name: str) -> None:
    rows = re.findall(r"^\| (.*?) \|", section("migrating", "From each classic class"), re.MULTILINE)
    assert [row for row in rows if re.search(rf"`{name}[`(]", row)]


def quoted(heading: str) -> list[str]:
    return section("errors", heading).partition("```text\n")[2].partition("```")[0].splitlines()


@pytest.mark.parametrize("text", quoted("Maximum context length"))
def test_what_errors_quotes_of_a_refusal_for_length_is_taken_for_one(text: str) -> None:
    assert overflow_of(ValueError(text)) is not None


@pytest.mark.parametrize("text", quoted("A 400 about tool calls"))
def test_what_errors_quotes_of_a_refusal_for_order_is_not_taken_for_one_for_length(text: str) -> None:
    assert overflow_of(ValueError(text)) is None


@pytest.mark.parametrize("module", ["memory", "chains"])
def test_a_module_that_errors_says_is_gone_is_gone(module: str) -> None:
    pytest.importorskip("langchain")
    with pytest.raises(ModuleNotFoundError, match=f"No module named 'langchain.{module}'"):
        __import__(f"langchain.{module}")
    assert f"No module named 'langchain.{module}'" in DOCS["errors"]
