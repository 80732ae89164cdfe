"""What the pages and the examples show is what runs, and what they name is there."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import runpy
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_layers import FOLDER_OF, LAYERS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "langchain_tokenbuffer"
MODULES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        *(ROOT / name for name in ("README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/mutants.md")),
        *(ROOT / name for name in ("CODE_OF_CONDUCT.md", "SECURITY.md")),
        ROOT / "examples" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
DESIGN, GLOSSARY = (PAGES[name] for name in ("docs/design.md", "docs/glossary.md"))
READMES = ("README.md", "README.ko.md")
OURS = [name for name in PAGES if name.startswith(("docs/", "tests/")) or name == "CONTRIBUTING.md"]
BLOCKS = [
    (name, *block)
    for name in (*READMES, *OURS)
    for block in re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGES[name], re.DOTALL)
]
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").glob("*.py")
    if not path.stem.startswith("local_")  # a real model: tests/local_model
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def needs(source: str) -> None:
    """Skip what shows an agent, or a server, where what it is made with is not installed."""
    for package in ("langchain.agents", "langgraph", "deepagents", "fastapi"):
        if package in source:
            pytest.importorskip(package)


def printed_by(source: str, names: dict[str, Any] | None = None) -> str:
    """Run a block, its names in `names`, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(
            compile(source, "a page", "exec"),
            {"__name__": "__main__"} if names is None else names,
        )
    return printed.getvalue()


def section(page: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def texts_in(part: str) -> list[str]:
    """Return the blocks of plain text in a part of a page."""
    return re.findall(r"```text\n(.*?)```", part, re.DOTALL)


def table_in(part: str) -> list[list[str]]:
    """Return the rows of the tables in a part of a page, without their headings."""
    rows = re.findall(r"^\| (.*) \|$", part, re.MULTILINE)
    split = [re.split(r" ?\| ?", row) for row in rows]
    starts = {i for i, row in enumerate(split) if set("".join(row)) <= set("-: ")}
    return [row for i, row in enumerate(split) if i not in starts and i + 1 not in starts]


# --- what runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[1].splitlines()[-1][:40])
def test_a_block_prints_what_its_page_says(block: tuple[str, str, str]) -> None:
    _, source, output = block
    needs(source)
    assert printed_by(source) == output


def test_every_python_block_shows_its_output() -> None:
    assert all(output for _, _, output in BLOCKS)


@pytest.mark.parametrize("name", READMES)
def test_a_readme_has_at_most_150_lines(name: str) -> None:
    assert len(PAGES[name].splitlines()) <= 150


@pytest.mark.parametrize("surface", ["memory", "chat-history", "sql", "lcel", "agents"])
@pytest.mark.parametrize("name", READMES)
def test_a_readme_says_what_the_budget_of_a_surface_covers(name: str, surface: str) -> None:
    rows = [row for row in table_in(PAGES[name]) if f"](docs/{surface}.md)" in row[1]]
    assert len(rows) == 1
    assert rows[0][2].strip()


def passages_of(page: str, lines: int) -> set[tuple[str, ...]]:
    """Return what stands in so many lines of a page, one behind the other; blank ones do not count."""
    filled = [line.strip() for line in page.splitlines() if line.strip()]
    return {tuple(filled[i : i + lines]) for i in range(len(filled) - lines + 1)}


def test_no_passage_of_more_than_five_lines_stands_in_two_pages() -> None:
    pages = [(name, passage) for name, page in PAGES.items() for passage in passages_of(page, 6)]
    homes = {passage: name for name, passage in pages}
    assert [(name, homes[passage], passage) for name, passage in pages if homes[passage] != name] == []


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        (name, targets)
        for name in (*READMES, *OURS)
        for targets in re.findall(r"(?:^|`)make ([a-z_ ]+)", PAGES[name], re.MULTILINE)
    ],
)
def test_a_make_command_of_a_page_is_a_target(name: str, targets: str) -> None:
    assert set(targets.split()) <= set(re.findall(r"^([a-z_]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # upstream's, of what the examples use
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_offline_and_prints(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(path.read_text(encoding="utf-8"))
    monkeypatch.delenv("LIVE", raising=False)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_the_demo_holds_what_the_classic_class_documents(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(ROOT / "examples" / "conversation_chain.py"), run_name="__main__")
    held = re.findall(r"now holds (\d+) of 60", capsys.readouterr().out)
    assert held == ["28", "54", "50", "35"]


# --- what a page points at ----------------------------------------------------------------------


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page: its own, and those GitHub makes of its headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', page))


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_is_there(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGES[name])
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_the_heading_a_page_links_to_is_there(name: str) -> None:
    lost = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", PAGES[name]):
        path = (ROOT / name).parent / target if target else ROOT / name
        if anchor not in anchors_of(path.read_text(encoding="utf-8")):
            lost.append((target, anchor))
    assert lost == []


@pytest.mark.parametrize("name", OURS)
def test_a_path_that_a_page_names_is_there(name: str) -> None:
    paths = re.findall(r"`([\w./]+(?:\.(?:py|md|toml|html)|/))`", PAGES[name])
    if not (ROOT / ".github").exists():  # an sdist has no workflows and hooks
        paths = [path for path in paths if not path.startswith(".")]
    files = {Path(module).name for module in MODULES}
    lost = [p for p in paths if p not in files and not any((at / p).exists() for at in HOMES)]
    assert lost == []


HOMES = (ROOT, PACKAGE)


@cache
def definitions() -> set[str]:
    """Return the names that the package's modules define, those of classes with their members."""
    found: set[str] = set()
    for source in (*MODULES.values(), (PACKAGE / "__init__.py").read_text(encoding="utf-8")):
        tree = ast.parse(source)
        found |= names_bound_in(tree.body)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                members = names_bound_in(node.body) | attributes_set_in(node)
                found |= {node.name} | {f"{node.name}.{member}" for member in members}
    return found


def names_bound_in(body: list[ast.stmt]) -> set[str]:
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
    return found


def attributes_set_in(node: ast.ClassDef) -> set[str]:
    return {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }


@pytest.mark.parametrize("name", OURS)
def test_a_member_that_a_page_names_is_defined(name: str) -> None:
    named = re.findall(r"`(_?[A-Z]\w+\.(?!md`)\w+)`", PAGES[name])
    assert [each for each in named if each not in definitions()] == []


@pytest.mark.parametrize("name", OURS)
def test_a_private_name_that_a_page_quotes_is_defined(name: str) -> None:
    named = set(re.findall(r"`(_[a-zA-Z]\w*)`", PAGES[name]))
    assert named - {each.rpartition(".")[2] for each in definitions()} == set()


@pytest.mark.parametrize("name", OURS)
def test_a_constant_that_a_page_quotes_is_there(name: str) -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]{2,})`", PAGES[name]))
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    sources = [*tests, *PACKAGE.rglob("*.py")]
    words = {w for path in sources for w in re.findall(r"\b[A-Z_]+\b", path.read_text("utf-8"))}
    assert named - words == set()


# --- the design ---------------------------------------------------------------------------------


def modules_on_the_map() -> list[str]:
    """Return the map's modules, with the folder they stand under."""
    found: list[str] = []
    folder = ""
    for line in texts_in(section(DESIGN, "The map"))[0].splitlines()[1:]:
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        if name.endswith("/"):
            folder = name
        else:
            found.append(name if indent == len("  ") else folder + name)
    return found


def test_the_map_shows_every_module_once() -> None:
    shown = sorted(modules_on_the_map())
    there = sorted([*MODULES, "__init__.py"])
    assert [name for name in there if name not in shown] == []
    assert shown == there


def test_the_drawing_of_imports_is_the_layers_that_are_tested() -> None:
    folders = {surface: folder for folder, surface in FOLDER_OF.items()}
    drawn = [
        ", ".join(f"{name} with {folders[name]}" if name in folders else name for name in layer) for layer in LAYERS
    ]
    assert texts_in(section(DESIGN, "The map"))[1].splitlines() == drawn


def test_the_lines_shown_of_an_agents_call_are_those_of_the_code() -> None:
    shown = texts_in(section(DESIGN, "The way of a request"))[0].splitlines()
    code = [line.strip() for line in MODULES["middleware.py"].splitlines()]
    start = code.index(shown[0])
    assert code[start : start + len(shown)] == shown


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    """The names of the drawn example, after it has run."""
    names: dict[str, Any] = {}
    source = next(source for name, source, _ in BLOCKS if name == "docs/design.md")
    printed_by(source, names)
    return names


def candidates() -> list[tuple[int, int, list[float], str]]:
    """Return the rows under the drawing: what comes, a candidate, its numbers, what is said."""
    part = section(DESIGN, "The replay").partition("### An example")[2]
    return [(int(row[0]), int(row[1]), [float(number) for number in row[2:6]], row[6]) for row in table_in(part)]


def test_a_candidate_has_the_numbers_the_design_shows(drawn: dict[str, Any]) -> None:
    kinds, tokens, buffer = drawn["KINDS"], drawn["TOKENS"], drawn["buffer"]
    for comes, k, shown, _ in candidates():
        rest = 0 if kinds[k] == "Q" else tokens[kinds.rindex("Q", 0, k)]
        room = buffer.max_tokens - tokens[0] - rest
        low = round(buffer.trim_to * room, 1)
        assert shown == [rest, sum(tokens[k : comes + 1]), room, low]


def test_the_cut_goes_where_the_design_says(drawn: dict[str, Any]) -> None:
    kinds, conversation, buffer = drawn["KINDS"], drawn["conversation"], drawn["buffer"]
    for comes, rows in groupby(candidates(), key=lambda row: row[0]):
        _, ks, shown, said = zip(*rows, strict=True)
        numbers = dict(zip(ks, shown, strict=True))
        low = [k for k, (_, tail, _, most) in numbers.items() if tail <= most]
        fits = [k for k, (_, tail, room, _) in numbers.items() if tail <= room]
        k = (low or fits or list(numbers))[0 if low or fits else -1]
        candidate = 5 if not fits else (1 if low else 3) + (kinds[k] != "Q")
        assert f"candidate {candidate}" in said[-1]
        assert buffer.window(conversation[: comes + 1]).cut == k


def test_the_clamped_message_has_the_tokens_the_design_says(drawn: dict[str, Any]) -> None:
    index, tokens = re.findall(r"^Message (\d+) .*: (\d+) tokens\.$", DESIGN, re.MULTILINE)[0]
    window = drawn["buffer"].window(drawn["conversation"])
    assert window.clamped == {int(index): int(tokens)}


# --- the glossary -------------------------------------------------------------------------------


@pytest.mark.parametrize("row", table_in(GLOSSARY), ids=lambda row: row[0])
def test_a_word_of_the_glossary_is_at_home_in_the_code(row: list[str]) -> None:
    homes = re.findall(r"`([^`]+)`", row[2])
    assert homes
    assert [home for home in homes if home not in definitions()] == []


@cache
def as_words(code: str) -> str:
    """Return names as the words they are made of: `WindowDriver` and `window_driver` are two."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", code).lower()


@pytest.mark.parametrize("row", table_in(GLOSSARY), ids=lambda row: row[0])
def test_the_code_uses_a_word_of_the_glossary(row: list[str]) -> None:
    package = as_words("\n".join(MODULES.values()))
    assert [word for word in row[0].split(", ") if as_words(word) not in package] == []


def test_a_word_stands_in_the_glossary_once() -> None:
    words = [word for row in table_in(GLOSSARY) for word in row[0].split(", ")]
    assert sorted(words) == sorted(set(words))
