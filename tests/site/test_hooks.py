"""How a page of the repository becomes one of the site."""

from __future__ import annotations

import pytest

pytest.importorskip("mkdocs")

from mkdocs_hooks import relinked, summary_of


@pytest.mark.parametrize(
    ("page", "link", "on_site"),
    [
        ("README.md", "docs/memory.md", "memory.md"),
        ("docs/sql.md", "../CONTRIBUTING.md#how-to-add", "contributing.md#how-to-add"),
        ("docs/sql.md", "../README.md", "index.md"),
        ("docs/sql.md", "design.md#laws", "design.md#laws"),
        ("docs/agents.md", "../examples/README.md", "examples.md"),
        ("README.ko.md", "examples/window.png", "files/examples/window.png"),
        ("examples/README.md", "agent.py", "files/examples/agent.py"),
        ("docs/sql.md", "#laws", "#laws"),
        ("docs/sql.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/sql.md", "no-such-page.md", "no-such-page.md"),
    ],
)
def test_a_link_leads_where_its_target_is_on_the_site(page: str, link: str, on_site: str) -> None:
    assert relinked(page, f"See [it]({link}).") == f"See [it]({on_site})."


def test_a_page_is_described_by_its_first_sentence_without_markup() -> None:
    page = "# Title\n\nShort: [one](one.md)\n\n```bash\nmake it\n```\n\nA **first** sentence, with [a link](b.md) and `code`. Another.\n"
    assert summary_of(page) == "A first sentence, with a link and code."
