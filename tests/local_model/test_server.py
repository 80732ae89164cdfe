"""The server ends with whoever started it, and the example runs."""

from __future__ import annotations

import runpy
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from examples.local_model import ROOT

if TYPE_CHECKING:
    import pytest

    from examples.local_model import Served

KILLED_WHILE_SERVING = """
import os, signal
from examples.local_model import serving
with serving() as served:
    print(served.base_url, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((str(address.hostname), int(address.port or 0)), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_server_does_not_outlive_a_process_that_is_killed(smollm2: Served) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SERVING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    url = killed.stdout.strip()
    deadline = time.monotonic() + 20
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert killed.returncode == -signal.SIGKILL
    assert answers(smollm2.base_url)
    assert not answers(url)


def test_the_example_runs_and_shows_each_surface(smollm2: Served, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "local_model.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("\nmemory\n", "\nchat history\n", "\nmiddleware\n"))
