"""Runs every measurement of this folder, or those named, and prints their tables.

Every module here that has a `main()` is a measurement.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.benchmarks


def main() -> None:
    """Run what was asked for, or everything, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__))
    wanted = sys.argv[1:] or [name for name in names if name != "__main__"]
    unknown = sorted(set(wanted).difference(names))
    if unknown:
        sys.exit(f"No measurement is called {', '.join(unknown)}; there are {', '.join(names)}.")
    for name in wanted:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        if hasattr(module, "main"):
            module.main()


if __name__ == "__main__":
    main()
