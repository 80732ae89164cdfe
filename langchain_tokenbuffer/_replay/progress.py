"""A bar for what takes long: on a terminal's standard error, and only once it does take long."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")
AFTER = 1.0  # seconds: what is done by then shows no bar


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield the items of a task; show how many are done where somebody watches."""
    if not sys.stderr.isatty():
        yield from items
        return
    try:
        from rich.console import Console  # noqa: PLC0415  # the extra's
        from rich.progress import Progress  # noqa: PLC0415
    except ImportError:
        yield from items
        return
    begun = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=len(items), visible=False)
        for item in items:
            yield item
            progress.update(task, advance=1, visible=time.monotonic() - begun > AFTER)
