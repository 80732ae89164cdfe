"""The site as it is built: its reference, and the list of its pages for machines."""

from __future__ import annotations

import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import langchain_tokenbuffer

ROOT = Path(__file__).resolve().parents[2]


class Prose(HTMLParser):
    """What an article says outside of code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.texts: list[str] = []
        self._code = 0
        self.feed(page.partition("<article")[2].partition("</article>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in ("code", "pre")
        self.ids |= {value for name, value in attrs if name == "id" and value}

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("code", "pre")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.texts.append(data)


@pytest.fixture(scope="module")
def reference(site: Path) -> Prose:
    return Prose((site / "api" / "index.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", langchain_tokenbuffer.__all__)
def test_a_public_name_is_in_the_reference(reference: Prose, name: str) -> None:
    assert f"langchain_tokenbuffer.{name}" in reference.ids


def test_no_docstring_shows_its_markup(reference: Prose) -> None:
    raw = re.compile(r"`|\*\*|^\s*(Args|Example|Note|Yields):", re.MULTILINE)
    assert [text for text in reference.texts if raw.search(text)] == []


@pytest.fixture(scope="module")
def listed(site: Path) -> list[tuple[str, str, str]]:
    """The lines of `llms.txt`: title, address, first sentence."""
    return re.findall(r"^- \[(.+?)\]\((.+?)\): (.*)$", (site / "llms.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_llms_txt_lists_every_page(site: Path, listed: list[tuple[str, str, str]]) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("index.html")}
    assert sorted(address for _, address, _ in listed) == sorted(pages)


def test_llms_txt_says_of_each_page_what_it_is_about(listed: list[tuple[str, str, str]]) -> None:
    assert [title for title, _, summary in listed if not re.fullmatch(r"[^`\[\]*]{40,}\.", summary)] == []


def test_a_package_index_shows_no_link_that_leads_nowhere() -> None:
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = hook["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    shown = (ROOT / settings["fragments"][0]["path"]).read_text(encoding="utf-8")
    for each in settings["substitutions"]:
        shown = re.sub(each["pattern"], each["replacement"], shown)
    assert re.findall(r"\]\((?!https?:)", shown) == []
    assert "<!-- repository" not in shown
