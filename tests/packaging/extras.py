"""What each extra installs, measured: the figures of `extras.json` and the table of `docs/install.md`.

`make extras` (`python -m tests.packaging.extras`) installs the package, and then with each extra, into virtualenvs of
their own, counts what is in them and writes both. It needs a package index.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("extras.json")
PAGE = ROOT / "docs" / "install.md"
BEGIN, END = "<!-- extras: begin -->\n", "<!-- extras: end -->\n"
BASE = ""
"""The name, among the extras, of the install without one."""

WHY = {
    BASE: "memory, chat history, LCEL, counting",
    "agents": "`TokenBufferMiddleware`: it is a middleware of LangChain's `create_agent`",
    "claude": "Claude's [own vocabulary](counting.md#by-provider) (Python 3.12 or newer)",
    "mistral": "Mistral's vocabularies",
    "offline": "`cl100k_base`, `o200k_base`, `o200k_harmony` without a download at first use",
    "open": "the vocabularies of Llama, Qwen, DeepSeek and other open models",
    "postgres": "`sql`, and PostgreSQL's driver",
    "recall": "words found by their stems, for `recall_tokens` and `recall_tool`; without it a simpler rule",
    "replay": "the command's tables and pictures, with `offline`",
    "sql": "`SQLTokenBufferHistory`, on SQLite; SQLAlchemy comes with `langchain-classic` already",
    "all": "all of the above",
}
"""What an extra is for."""

LISTING = """
import importlib.metadata as metadata, json
sizes = {}
for each in metadata.distributions():
    files = [file.locate() for file in each.files or () if file.suffix != ".pyc"]
    sizes[each.metadata["Name"].lower().replace("_", "-")] = sum(f.stat().st_size for f in files if f.is_file())
print(json.dumps({name: size for name, size in sizes.items() if name not in ("pip", "setuptools", "wheel")}))
"""


class Figures(TypedDict):
    """What was measured, and where."""

    python: str
    system: str
    installs: dict[str, dict[str, int]]
    """By extra: the bytes of each distribution, without compiled bytecode."""


def main() -> None:
    """Measure, and write down what was found."""
    major, minor, _ = platform.python_version_tuple()
    if (int(major), int(minor)) < (3, 12):
        sys.exit("The extra claude installs nothing before Python 3.12: make extras PYTHON=python3.12")
    names = [BASE, *extras()]
    with tempfile.TemporaryDirectory() as folder:
        installs = {name: installed(name, Path(folder, name or "base")) for name in names}
    found = Figures(
        python=f"{major}.{minor}",
        system=f"{platform.system()} {platform.machine()}",
        installs=installs,
    )
    RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(pasted(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(table(found))


def read() -> Figures:
    """Return what was measured last."""
    found: Figures = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def extras() -> list[str]:
    """Return the names of the extras, as `pyproject.toml` has them, `all` last."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(project["optional-dependencies"], key=lambda name: (name == "all", name))


def installed(extra: str, folder: Path) -> dict[str, int]:
    """Return the distributions of a fresh virtualenv with the package and an extra, in bytes."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = f"{ROOT}[{extra}]" if extra else str(ROOT)
    subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
    listed = subprocess.run([python, "-I", "-c", LISTING], check=True, capture_output=True, text=True)
    sizes: dict[str, int] = json.loads(listed.stdout)
    return sizes


def table(found: Figures) -> str:
    """Return the table: what the base install has, and what each extra adds to it."""
    base = found["installs"][BASE]
    lines = [
        "| install | for | distributions | MB | the biggest |",
        "| --- | --- | ---: | ---: | --- |",
        f"| `langchain-tokenbuffer` | {WHY[BASE]} | {len(base)} | {megabytes(base)} | {biggest(base)} |",
    ]
    for name in [name for name in WHY if name != BASE]:
        more = {each: size for each, size in found["installs"][name].items() if each not in base}
        figures = f"+{len(more)} | +{megabytes(more)} | {biggest(more)}"
        lines.append(f"| `[{name}]` | {WHY[name]} | {figures} |")
    where = f"Python {found['python']}, {found['system']}"
    note = f"{where}; a MB is 10⁶ bytes of installed files, without compiled bytecode and without pip."
    return "\n".join(lines) + f"\n\n{note}\n"


def megabytes(sizes: dict[str, int]) -> str:
    """Return what all take together."""
    return f"{sum(sizes.values()) / 1e6:,.1f}"


def biggest(sizes: dict[str, int]) -> str:
    """Return the three biggest, each with its MB."""
    three = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {size / 1e6:.1f}" for name, size in three) or "-"


def pasted(page: str, found: Figures) -> str:
    """Return the page with the table of these figures in its place."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table(found) + END + rest.partition(END)[2]


if __name__ == "__main__":
    main()
