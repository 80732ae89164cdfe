"""What every test gets: no network (see addopts), and Hypothesis settings that do not flake."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.scale import examples

settings.register_profile(
    "default",
    deadline=None,
    max_examples=examples(100),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# A landing is judged by the same examples every time; at home every run looks for new ones.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
# What kills a mutant need not be a small example.
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_finish() -> None:
    """Leave what was imported to itself: no collection of garbage walks through it again."""
    gc.collect()
    gc.freeze()


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real transcripts; tests that want it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real transcripts are not beside this checkout")
    return SHARED_DATA
