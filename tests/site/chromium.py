"""A headless Chromium, driven over a pipe in the DevTools protocol: no port is opened, and nothing has to be installed.

Messages are JSON, each ended by a zero byte; Chromium reads them from file descriptor 3 and writes to 4.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The browser of this machine, if it has one."""
PATIENCE = 60.0  # seconds until a browser that does not answer is given up
READ, WRITE = 3, 4  # Chromium's, with --remote-debugging-pipe


class Chromium:
    """One browser with one tab. A context manager."""

    def __init__(self, profile: Path, *flags: str) -> None:
        """Start it.

        Args:
            profile: An empty folder for what it keeps.
            flags: More of its options.
        """
        assert EXECUTABLE is not None
        (theirs_in, self._out), (self._in, theirs_out) = _pipe(), _pipe()
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        options = ["--headless=new", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._pid = os.posix_spawn(
            EXECUTABLE,
            [EXECUTABLE, *options, *as_root, *flags],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, theirs_in, READ),
                (os.POSIX_SPAWN_DUP2, theirs_out, WRITE),
            ],
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.events: list[dict[str, Any]] = []
        self._buffer, self._last, self._session = b"", 0, ""
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End it."""
        self._session = ""
        self.call("Browser.close")
        os.waitpid(self._pid, 0)
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result; what happens meanwhile is added to `events`."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._last:
            self.events.append(answer)
        if "error" in answer:
            msg = f"{method}: {answer['error']}"
            raise RuntimeError(msg)
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str, *, width: int = 1280, scheme: str = "light") -> None:
        """Open a page and wait until it is loaded.

        Args:
            url: Its address.
            width: The window's, in pixels.
            scheme: `"light"` or `"dark"`: what the page is told that its reader prefers.
        """
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """Return what an expression is in the page, or what its promise brings."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            received = os.read(self._in, 1 << 16) if ready else b""
            if not received:
                msg = f"The browser said nothing for {PATIENCE:.0f} s, or has ended."
                raise RuntimeError(msg)
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded


def _pipe() -> tuple[int, int]:
    """Return a pipe's ends, with numbers that are not Chromium's."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
