"""What the project's files say of each other: releases, extras, workflows, hooks."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

import langchain_tokenbuffer
from langchain_tokenbuffer._window.replay import RULE
from tests.builders import ROOT
from tests.packaging import extras

CHANGELOG, UPGRADING, INSTALL, MAKEFILE = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("CHANGELOG.md", "docs/upgrading.md", "docs/install.md", "Makefile")
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHECKOUT = pytest.mark.skipif(not (ROOT / ".github").exists(), reason="an sdist has no workflows and hooks")


def jobs() -> dict[str, dict[str, object]]:
    """Return the jobs of the CI workflow."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    found: dict[str, dict[str, object]] = yaml.safe_load(text)["jobs"]
    return found


# --- a release ----------------------------------------------------------------------------------


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    releases = re.findall(r"^## \[(\d[\d.]*)\]", CHANGELOG, re.MULTILINE)
    assert releases[0] == langchain_tokenbuffer.__version__


@pytest.mark.parametrize("page", [CHANGELOG, UPGRADING], ids=["changelog", "upgrading"])
def test_a_page_names_the_rule_of_this_release(page: str) -> None:
    assert re.search(rf"`RULE` (is )?{RULE}\b", page)


@pytest.mark.parametrize("page", [CHANGELOG, UPGRADING], ids=["changelog", "upgrading"])
def test_a_page_names_the_version_of_the_tables(page: str) -> None:
    migrations = pytest.importorskip("langchain_tokenbuffer._sql.migrations")
    assert re.search(rf"tables\W+have a version( now)?[,:] (now )?{migrations.VERSION}\b", page, re.IGNORECASE)


# --- the extras ---------------------------------------------------------------------------------


def test_every_extra_was_measured() -> None:
    assert sorted(extras.read()["installs"]) == sorted([extras.BASE, *PROJECT["optional-dependencies"]])


def test_the_page_shows_what_was_measured() -> None:
    assert extras.pasted(INSTALL, extras.read()) == INSTALL


def test_the_page_names_what_the_package_asks_for() -> None:
    names = [re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]]  # type: ignore[index]
    assert [name for name in names if f"`{name}`" not in INSTALL] == []


# --- workflows and hooks ------------------------------------------------------------------------


@CHECKOUT
def test_ci_runs_on_every_python_that_is_supported() -> None:
    named = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    tried = set(re.findall(r"3\.\d+", str(jobs()["checks"]["strategy"])))
    assert named <= tried


@CHECKOUT
@pytest.mark.parametrize("job", ["oldest", "newest", "wheel", "docs", "workflows"])
def test_a_job_runs_a_target_that_is_there(job: str) -> None:
    (target,) = re.findall(r"'make (\w+)'", str(jobs()[job]))
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@CHECKOUT
def test_ci_runs_the_script_that_a_change_must_pass() -> None:
    assert "bash .ci/run" in str(jobs()["checks"])


@CHECKOUT
def test_actionlint_finds_nothing_wrong() -> None:
    if (actionlint := shutil.which("actionlint")) is None:
        pytest.skip("actionlint is not here: make lint_workflows")
    assert subprocess.run([actionlint], cwd=ROOT, capture_output=True, text=True, check=False).stdout == ""


@CHECKOUT
def test_every_hook_is_local() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [each["repo"] for each in hooks["repos"]] == ["local"]
