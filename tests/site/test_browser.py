"""The site in a real browser, where there is one: it is searched, read on a phone and in the dark, and kept offline."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.site.chromium import EXECUTABLE, Chromium

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PHONE = 400  # pixels
READABLE = 4.5  # contrast of text, WCAG 2.2, 1.4.3


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served, on this machine alone."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[5]
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile"), OFFLINE) as started:
        yield started


class Visit(NamedTuple):
    """What one page did, read on a phone in the dark."""

    page: str
    width: int
    contrast: float
    luminance: float
    requests: list[str]
    complaints: list[Any]


LOOK = """(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => channels(color).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (front, back) => {
    const f = channels(front), b = channels(back), alpha = f[3] ?? 1;
    return `rgb(${[0, 1, 2].map((i) => f[i] * alpha + b[i] * (1 - alpha)).join()})`;
  };
  const ground = getComputedStyle(document.body).backgroundColor;
  const text = getComputedStyle(document.querySelector("article p")).color;
  const [dark, light] = [luminance(ground), luminance(over(text, ground))].sort((a, b) => a - b);
  return [document.documentElement.scrollWidth, (light + 0.05) / (dark + 0.05), luminance(ground)];
})()"""
COMPLAINTS = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")


@pytest.fixture(scope="module")
def visits(site: Path, address: str, browser: Chromium) -> list[Visit]:
    """Every page, opened once."""
    found = []
    for path in sorted(site.rglob("index.html")):
        page = path.parent.relative_to(site).as_posix()
        browser.open(f"{address}/{page}/", width=PHONE, scheme="dark")
        width, contrast, luminance = browser.value(LOOK)
        sent = [event["params"]["request"]["url"] for event in browser.events if event["method"] == REQUEST]
        complaints = [event["params"] for event in browser.events if event["method"] in COMPLAINTS]
        found.append(Visit(page, width, contrast, luminance, sent, complaints))
    return found


REQUEST = "Network.requestWillBeSent"


def test_no_page_complains_in_the_console(visits: list[Visit]) -> None:
    assert [(visit.page, visit.complaints) for visit in visits if visit.complaints] == []


def test_no_request_leaves_the_machine(visits: list[Visit], address: str) -> None:
    own = (f"{address}/", "data:")
    assert [(visit.page, url) for visit in visits for url in visit.requests if not url.startswith(own)] == []


def test_a_page_on_a_phone_is_not_wider_than_the_phone(visits: list[Visit]) -> None:
    assert [(visit.page, visit.width) for visit in visits if visit.width > PHONE] == []


def test_a_page_in_the_dark_is_dark(visits: list[Visit]) -> None:
    assert [(visit.page, visit.luminance) for visit in visits if visit.luminance > 0.1] == []


def test_a_page_in_the_dark_can_be_read(visits: list[Visit]) -> None:
    assert [(visit.page, visit.contrast) for visit in visits if visit.contrast < READABLE] == []


SEARCH = """new Promise((found) => {
  document.querySelector("[data-md-toggle=search]").checked = true;
  const field = document.querySelector("[data-md-component=search-query]");
  field.focus();
  const look = () => {
    field.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }));
    const links = [...document.querySelectorAll(".md-search-result__link")].map((link) => link.href);
    links.length ? found(links) : setTimeout(look, 100);
  };
  field.value = %r;
  look();
})"""


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("maximum context length", "errors"),
        ("No module named langchain.memory", "errors"),
        ("must be followed by tool messages", "errors"),
        ("keep a system prompt", "lcel"),
        ("postgresql", "sql"),
        ("count claude offline", "counting"),
        ("summary of what left", "leaving"),
        ("mending a thread", "agents"),
        ("what the budget covers", "lcel"),
        ("ConversationSummaryBufferMemory", "migrating"),
    ],
)
def test_a_search_finds_the_page_that_answers(browser: Chromium, address: str, query: str, page: str) -> None:
    browser.open(f"{address}/")
    pages = [link.removeprefix(f"{address}/").partition("/")[0] for link in browser.value(SEARCH % query)]
    assert page in list(dict.fromkeys(pages))[:3]
