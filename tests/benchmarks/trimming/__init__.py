"""The public benchmark of trimming; its `main` is in `reporting`."""

from tests.benchmarks.trimming.reporting import main

__all__ = ["main"]
