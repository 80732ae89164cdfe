"""Whether what the next reply needs is in the window; its `main` is in `reporting`."""

from tests.benchmarks.evidence.reporting import main

__all__ = ["main"]
