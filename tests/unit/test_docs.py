"""What the README and the examples show is what runs."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.DOTALL)
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").glob("*.py")
    if not path.stem.startswith("local_")  # a real model: tests/local_model
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def needs(source: str) -> None:
    """Skip what shows an agent where langchain is not installed."""
    if "langchain.agents" in source:
        pytest.importorskip("langchain")


def printed_by(source: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[0].splitlines()[-1][:40])
def test_a_readme_block_prints_what_the_readme_says(block: tuple[str, str]) -> None:
    source, output = block
    needs(source)
    assert printed_by(source) == output


def test_every_python_block_shows_its_output() -> None:
    assert all(output for _, output in BLOCKS)


def test_the_korean_readme_shows_the_same_blocks() -> None:
    korean = (ROOT / "README.ko.md").read_text(encoding="utf-8")
    blocks = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    assert blocks.findall(korean) == blocks.findall(README)


@pytest.mark.parametrize("name", ["README.md", "README.ko.md", "examples/README.md"])
def test_what_a_page_links_to_is_there(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("targets", re.findall(r"(?:^|`)make ([a-z_ ]+)", README, re.MULTILINE))
def test_a_make_command_of_the_readme_is_a_target(targets: str) -> None:
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
