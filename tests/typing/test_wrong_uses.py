"""A type checker finds every wrong use in `wrong_uses.py`, and nothing else there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

ROOT = Path(__file__).resolve().parents[2]
WRONG_USES = Path(__file__).with_name("wrong_uses.py")


def test_a_type_checker_refuses_each_wrong_use_and_no_other_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)  # where its settings are, and what `make type` remembered
    lines = WRONG_USES.read_text(encoding="utf-8").splitlines()
    expected = {(number, line.partition("# E: ")[2]) for number, line in enumerate(lines, start=1) if "# E: " in line}
    printed, _, _ = api.run([str(WRONG_USES)])
    found = re.findall(r":(\d+): error: .*\[([a-z-]+)\]$", printed, re.MULTILINE)
    assert {(int(number), code) for number, code in found} == expected
