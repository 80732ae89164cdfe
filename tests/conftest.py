"""What every test gets: no network (see addopts), and Hypothesis settings that do not flake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
# A landing is judged by the same examples every time; at home every run looks for new ones.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
# What kills a mutant need not be a small example.
settings.register_profile(
    "mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("ci" if os.environ.get("CI") else "default")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real transcripts; tests that want it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real transcripts are not beside this checkout")
    return SHARED_DATA
