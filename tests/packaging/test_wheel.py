"""What is published, as a user gets it: the built wheel in virtualenvs of its own, and the sdist.

Run by `make test_wheel`: it installs from a package index and takes minutes. `TOKENBUFFER_WHEEL_PYTHONS` names the
Pythons of those virtualenvs, with colons between them; by default it is the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_EXAMPLE = README.partition("```python\n")[2].partition("```")[0]
FIRST_OUTPUT = README.partition("```text\n")[2].partition("```")[0]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])
PYTHONS = os.environ.get("TOKENBUFFER_WHEEL_PYTHONS", sys.executable).split(os.pathsep)


def ran(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Return what a command printed; fail with what it complained about."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Installed:
    """A virtualenv that holds the wheel, what it asks for, and nothing else."""

    def __init__(self, folder: Path, wheel: Path, extra: str = "", python: str = PYTHONS[0]) -> None:
        ran(python, "-m", "venv", folder, cwd=folder)
        self._folder = folder
        self._python = folder / "bin" / "python"
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        ran(self._python, "-m", "pip", "install", "--quiet", wanted, cwd=folder)

    def run(self, source: str, vocabularies: Path | None = None) -> str:
        """Return what a script prints there, without a network and away from the sources."""
        nowhere = "http://127.0.0.1:9"
        env = {
            "TIKTOKEN_CACHE_DIR": str(vocabularies or self._folder / "no-vocabularies"),
            "http_proxy": nowhere,
            "https_proxy": nowhere,
            "no_proxy": "",
        }
        return ran(self._python, "-I", "-c", source, cwd=self._folder, env=env)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session", params=PYTHONS, ids=lambda python: Path(python).name)
def base(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("base"), wheel, python=request.param)


@pytest.fixture(scope="session")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiktoken's cache, as its first download leaves it."""
    folder = tmp_path_factory.mktemp("vocabularies")
    code = "from langchain_tokenbuffer import vocabularies as v; v.load('cl100k_base'); v.load('o200k_base')"
    ran(sys.executable, "-c", code, cwd=ROOT, env={"TIKTOKEN_CACHE_DIR": str(folder)})
    return folder


# --- the files ----------------------------------------------------------------------------------


def in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    package = ROOT / "langchain_tokenbuffer"
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.suffix in (".py", ".html") or path.name == "py.typed"
    }
    held = {name for name in in_wheel(wheel) if ".dist-info/" not in name}
    assert held == sources


def test_the_wheel_says_that_it_is_typed(wheel: Path) -> None:
    assert "langchain_tokenbuffer/py.typed" in in_wheel(wheel)


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in in_wheel(wheel))


@pytest.fixture(scope="session")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (sdist,) = built.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def test_the_sdist_holds_every_file_of_the_project(unpacked: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: nothing says which files are the project's")
    tracked = ran("git", "ls-files", cwd=ROOT).splitlines()
    missing = [name for name in tracked if name[0] != "." and not (unpacked / name).exists()]
    assert missing == []


def test_the_tests_of_the_docs_and_the_surface_pass_in_the_unpacked_sdist(unpacked: Path) -> None:
    chosen = ("tests/unit/test_docs.py", "tests/unit/test_surface.py")
    assert "[100%]" in ran(sys.executable, "-m", "pytest", *chosen, cwd=unpacked)


def test_twine_finds_nothing_wrong_with_what_is_published(built: Path) -> None:
    assert ran("twine", "check", "--strict", *sorted(built.iterdir()), cwd=built).count("PASSED") == len(
        [*built.iterdir()]
    )


def test_check_wheel_contents_finds_nothing_wrong(wheel: Path) -> None:
    assert ran("check-wheel-contents", wheel, cwd=wheel.parent).endswith("OK\n")


# --- the base install ---------------------------------------------------------------------------


def test_importing_the_package_imports_no_langchain(base: Installed) -> None:
    code = """
import sys, langchain_tokenbuffer
print([name for name in sys.modules if name.startswith(("langchain_core", "langchain."))])
"""
    assert base.run(code) == "[]\n"


def test_the_package_is_imported_from_the_virtualenv(base: Installed) -> None:
    where = Path(base.run("import langchain_tokenbuffer as it; print(it.__file__)").strip())
    assert "site-packages" in where.parts


def test_the_installed_version_is_that_of_the_package(base: Installed) -> None:
    code = """
import importlib.metadata, langchain_tokenbuffer
print(importlib.metadata.version("langchain-tokenbuffer") == langchain_tokenbuffer.__version__)
"""
    assert base.run(code) == "True\n"


def test_import_star_brings_every_name(base: Installed) -> None:
    code = """
import langchain_tokenbuffer
from langchain_tokenbuffer import *
print([name for name in langchain_tokenbuffer.__all__ if name not in globals()])
"""
    assert base.run(code) == "[]\n"


def test_every_name_is_there_to_be_asked_for(base: Installed) -> None:
    code = """
import langchain_tokenbuffer as it
print([name for name in it.__all__ if not hasattr(it, name)])
"""
    assert base.run(code) == "[]\n"


def test_the_first_example_of_the_readme_runs(base: Installed, vocabularies: Path) -> None:
    assert base.run(FIRST_EXAMPLE, vocabularies) == FIRST_OUTPUT


def test_without_a_vocabulary_the_error_says_which_extra_has_it(base: Installed) -> None:
    code = """
from langchain_tokenbuffer import TokenBuffer, TokenBufferError
try:
    TokenBuffer(100, token_counter="o200k_base").trim("hello")
except TokenBufferError as error:
    print(error)
"""
    assert 'pip install "langchain-tokenbuffer[offline]"' in base.run(code)


STAND_INS = """
import importlib.metadata, json, re
import langchain_tokenbuffer as it

def lacks(extra):
    for line in importlib.metadata.requires("langchain-tokenbuffer"):
        if f"extra == '{extra}'" in line.replace('"', "'"):
            try:
                importlib.metadata.version(re.match(r"[\\w.-]+", line)[0])
            except importlib.metadata.PackageNotFoundError:
                return True
    return False

messages = {}
for name, home in it._HOMES.items():
    extra = it._EXTRAS.get(home)
    if extra and lacks(extra):
        try:
            getattr(it, name)()
        except ImportError as error:
            messages[extra] = str(error)
        else:
            messages[extra] = "nothing"
print(json.dumps(messages))
"""


def test_a_name_whose_extra_is_absent_says_exactly_what_to_install(base: Installed) -> None:
    messages = json.loads(base.run(STAND_INS))
    assert "agents" in messages
    assert [
        extra for extra, message in messages.items() if f'pip install "langchain-tokenbuffer[{extra}]"' not in message
    ] == []


# --- each extra alone ---------------------------------------------------------------------------

VOCABULARY = """
import sys
from langchain_core.messages import HumanMessage
from langchain_tokenbuffer import TokenCounter

counter = TokenCounter("{model}")
print("{package}" in counter.describe() or sys.version_info < {since}, counter([HumanMessage("How are you?")]) > 0)
"""


def vocabulary(model: str, package: str, since: tuple[int, int] = (3, 11)) -> str:
    """Return a script that prints whether a model is counted with a package, on a Python that it is there for."""
    return VOCABULARY.format(model=model, package=package, since=since)


USES = {
    "all": STAND_INS,
    "agents": """
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tokenbuffer import TokenBufferMiddleware

asked = []

class Model(FakeMessagesListChatModel):
    def _generate(self, messages, *args, **kwargs):
        asked.append(len(messages))
        return super()._generate(messages, *args, **kwargs)

talk = [kind(f"number {n}") for n in range(9) for kind in (HumanMessage, AIMessage)]
agent = create_agent(
    Model(responses=[AIMessage("Done.")]),
    middleware=[TokenBufferMiddleware(4, token_counter=len, trim_to=1.0)],
)
agent.invoke({"messages": [*talk, HumanMessage("And now?")]})
print(asked)
""",
    "claude": vocabulary("claude-sonnet-4-5", "ctok", since=(3, 12)),
    "mistral": vocabulary("mistral-large-latest", "mistral_common"),
    "open": vocabulary("llama-3.3-70b", "splintr"),
    "recall": """
from langchain_tokenbuffer._recall.terms import STEMMER
print(STEMMER)
""",
    "replay": """
import contextlib, io, json, pathlib
from langchain_tokenbuffer.replay import main

roles = ("user", "assistant")
talk = [{"role": role, "content": f"number {n}"} for n in range(9) for role in roles]
pathlib.Path("talk.json").write_text(json.dumps(talk))
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    code = main(["replay", "talk.json", "--max-tokens", "60", "--plot", "talk.png"])
print(code == 0 and "max_tokens=60" in printed.getvalue() and pathlib.Path("talk.png").exists())
""",
    "offline": FIRST_EXAMPLE,
    "postgres": """
import psycopg, sqlalchemy
print(psycopg.pq.__impl__, sqlalchemy.create_engine("postgresql://me@localhost/chats").driver)
""",
    "sql": """
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tokenbuffer import SQLTokenBufferHistory

history = SQLTokenBufferHistory("ann", "chat.db", max_tokens=2, token_counter=len)
for n in range(3):
    history.add_messages([HumanMessage(f"Question {n}?"), AIMessage(f"Answer {n}.")])
print([message.content for message in history.messages], len(history.all_messages()))
""",
}
"""What each extra is for, without a network and without the other extras."""
NEED_TIKTOKEN = ("claude", "mistral", "open")
"""Beside their own vocabulary they load one of tiktoken's, which is downloaded at first use."""
PRINTED = {
    "all": "{}\n",
    "claude": "True True\n",
    "mistral": "True True\n",
    "open": "True True\n",
    "recall": "snowball\n",
    "replay": "True\n",
    "postgres": "binary psycopg\n",
    "agents": "[3]\n",
    "offline": FIRST_OUTPUT,
    "sql": "['Question 2?', 'Answer 2.'] 6\n",
}


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).name)
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_alone_brings_what_its_surface_needs(
    extra: str, python: str, wheel: Path, vocabularies: Path, tmp_path: Path
) -> None:
    installed = Installed(tmp_path, wheel, extra, python)
    assert installed.run(USES[extra], vocabularies if extra in NEED_TIKTOKEN else None) == PRINTED[extra]
