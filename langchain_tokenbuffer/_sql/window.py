"""How a stored session's window changes: its driver goes on where another process stopped.

What the driver needs for that is stored with the session (`WindowDriver.state`), now and then: it goes on from there by
the messages that came since. While the budget holds a new message only adds to the sum, and no driver is asked.
Messages in the window that are not where the cut says carry a mark.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._messages.slots import slot_as_json
from langchain_tokenbuffer._sql.numbers import SessionRows, StoredSource, count_anew
from langchain_tokenbuffer._sql.schema import Mark
from langchain_tokenbuffer._sql.terms import SessionTerms
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.mending import calls_left_open
from langchain_tokenbuffer.buffer import log_dropped
from langchain_tokenbuffer.errors import NothingLeftError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._sql.rows import NewMessage
    from langchain_tokenbuffer._sql.settings import Settings
    from langchain_tokenbuffer._window.budget import MessageTokens

logger = logging.getLogger(__name__)

PAGE = 1000  # rows a statement reads, changes or deletes at once
LONG = 1000  # messages that are replayed while a session is locked; more are replayed before that, in portions
_BEFORE_QUESTION = "before_question"


class LongSessionError(Exception):
    """The window is outdated, and computing it anew takes longer than the session may be locked."""


class Recomputed(NamedTuple):
    """A window that was computed anew up to some message, without a lock; see `recomputing`."""

    session: int
    settings_digest: str
    state: list[Any]  # of its driver
    left: list[int]  # what left though it lies behind the cut
    needed: list[int]  # the messages that must still be there


class _Moved(NamedTuple):
    """What a window lost, and what came back into it."""

    left: list[int]
    back: list[int]


class _Begun(NamedTuple):
    """A window before the messages that come now."""

    driver: WindowDriver
    marked: dict[int, int]  # the marks that are stored, by sequence number
    left: list[int]  # what has left since these were stored
    saved: int | None  # up to which message the stored state goes; `None` if there is none that serves


@dataclass(frozen=True)
class WindowUpdate:
    """One change of one session's window, over a connection that holds the session's lock."""

    rows: SessionRows
    settings: Settings
    row: sa.Row[Any]
    recomputed: Recomputed | None = None
    at_once: bool = False  # compute a long session anew under the lock, too

    def apply(self, new: Sequence[NewMessage]) -> dict[int, int]:
        """Follow the new messages, store what the window came to, return their marks.

        A window that is outdated, or whose state cannot be read, is computed anew, from the first message on.

        Raises:
            LongSessionError: If that takes long; nothing was changed.
        """
        first = self.row.next_seq - len(new)
        begun = self._resumed(first, sum(each.numbers.tokens for each in new))
        is_anew = begun is None
        driver, marked, left, saved = begun or self._begun_anew(first)
        numbered = dict(enumerate(new, first))
        left += self._push_new(driver, numbered)
        driver.skip_to(self.row.next_seq)
        left_tail = {seq for seq in left if seq >= driver.cut}
        marks = _changed_marks(marked, set(driver.kept_before_cut), left_tail, driver.cut)
        self.rows.change([{"at": seq, "mark": mark} for seq, mark in marks.items() if seq < first])
        moved = self._moved(driver, marked, left_tail) if is_anew else _Moved(left, [])
        self._index(moved, numbered)
        self._store(driver, saved, is_anew=is_anew)
        return {seq: mark for seq, mark in marks.items() if seq >= first and mark is not None}

    def _moved(self, driver: WindowDriver, marked: Mapping[int, int], left_tail: set[int]) -> _Moved:
        """Return what left and what came back with a window that was computed anew."""
        before, kept = self.row.cut, set(driver.kept_before_cut)
        between = range(min(before, driver.cut), max(before, driver.cut))
        moved = _Moved([], [])
        for seq in sorted({*between, *marked, *kept, *left_tail}):
            mark = marked.get(seq)
            was_in = mark == Mark.KEPT or (seq >= before and mark is None)
            is_in = seq in kept or (seq >= driver.cut and seq not in left_tail)
            if was_in != is_in:
                (moved.back if is_in else moved.left).append(seq)
        return moved

    def _index(self, moved: _Moved, new: Mapping[int, NewMessage]) -> None:
        """See that what left can be recalled, where recall is used."""
        if self.row.indexed_by is None:
            return
        rows = self.rows
        terms = SessionTerms(rows.connection, rows.tables, rows.session, rows.session_id)
        terms.follow(self.row, moved.left, moved.back, {seq: each.payload for seq, each in new.items()})

    def save_state(self) -> None:
        """See that no message that left is needed any more to go on."""
        begun = self._resumed(self.row.next_seq, 0)
        if begun is None:
            self.apply([])
        else:
            self._update({"state": _state_of(begun.driver)})

    def _resumed(self, first: int, coming: int) -> _Begun | None:
        """Return the window as it was stored, in its driver; `None` if it has to be computed anew."""
        row = self.row
        if row.settings_digest != self.settings.digest:
            return None
        s = self.rows.tables.sessions.c
        state = self.rows.connection.scalar(sa.select(s.state).where(s.id == row.id))
        budget = self.settings.budget
        try:
            # A session that was cleared does not begin at 0.
            driver = WindowDriver(budget, start=row.cut) if state is None else WindowDriver.resume(budget, _json(state))
            saved = None if state is None else driver.count
            self._push(driver, self._numbers(driver.count, first), logs=False)
            driver.skip_to(first)
            is_same = (driver.cut, driver.tokens) == (row.cut, row.tokens - coming)
        except (ValueError, TypeError, LookupError, AttributeError):
            is_same = False
        if not is_same:
            logger.warning("The stored window of session %r is damaged: computed anew", self.rows.session_id)
            return None
        return _Begun(driver, dict.fromkeys(driver.kept_before_cut, int(Mark.KEPT)), [], saved)

    def _begun_anew(self, first: int) -> _Begun:
        """Return the window of all that is stored; as far as that goes, what was computed without the lock."""
        budget, found = self.settings.budget, self.recomputed
        driver, left = WindowDriver(budget), list[int]()
        if found is not None and self._is_true(found):
            driver, left = WindowDriver.resume(budget, found.state), list(found.left)
        if first - driver.count > LONG and not self.at_once:
            raise LongSessionError
        m = self.rows.tables.messages.c
        these = sa.select(m.seq, m.mark).where(m.session_id == self.row.id, m.mark.is_not(None))
        marked = {each.seq: each.mark for each in self.rows.connection.execute(these)}
        left += self._push(driver, self._numbers(driver.count, first))
        driver.skip_to(first)
        return _Begun(driver, marked, left, None)

    def _is_true(self, found: Recomputed) -> bool:
        """Tell whether it is of this session under these settings, and none of its messages was deleted meanwhile."""
        is_ours = (found.session, found.settings_digest) == (self.row.id, self.settings.digest)
        return is_ours and self.rows.are_there(found.needed, PAGE)

    def _store(self, driver: WindowDriver, saved: int | None, *, is_anew: bool) -> None:
        row, values = self.row, dict[str, Any]()
        if is_anew:
            # A batch that a consumer is busy with was of another window. What was acknowledged
            # and is in the tail again is handed over when it leaves again.
            values["window_epoch"] = row.window_epoch + 1
            if row.acknowledged is not None:
                values["acknowledged"] = min(row.acknowledged, driver.cut - 1)
        length = row.next_seq - driver.cut + len(driver.kept_before_cut)
        if saved is None or 4 * (row.next_seq - saved) >= length:
            # It is O(window). In between, the last one and the messages since are as good.
            values["state"] = _state_of(driver)
        values |= {"cut": driver.cut, "tokens": driver.tokens, "settings_digest": self.settings.digest}
        open_calls = open_calls_as_json(driver.open_calls, has_question=driver.has_question)
        values |= {"open_calls": open_calls, "display": display_of(driver)}
        self._update(values)

    def _update(self, values: Mapping[str, Any]) -> None:
        sessions = self.rows.tables.sessions
        self.rows.connection.execute(sa.update(sessions).where(sessions.c.id == self.row.id).values(**values))

    def _push_new(self, driver: WindowDriver, new: Mapping[int, NewMessage]) -> list[int]:
        """Push messages that are at hand; return the sequence numbers of those that left."""
        texts = {seq: each.message for seq, each in new.items()}
        return self._push(driver, ((seq, each.numbers) for seq, each in new.items()), texts)

    def _push(
        self,
        driver: WindowDriver,
        numbers: Iterable[tuple[int, MessageTokens]],
        texts: Mapping[int, BaseMessage] | None = None,
        *,
        logs: bool = True,
    ) -> list[int]:
        """Push messages; return the sequence numbers of those that left."""
        left = list[int]()
        source = StoredSource(self.settings.meter, self.rows.message, texts)
        for seq, each in numbers:  # purging leaves gaps
            left += driver.push(each, source, at=seq)
            errors = driver.take_drop_errors()
            log_dropped(errors if logs else [])
        return left

    def _numbers(self, start: int, stop: int) -> Iterator[tuple[int, MessageTokens]]:
        """Yield messages in numbers; what another counter counted is counted anew."""
        counter = self.settings.counter
        while start < stop:
            page = self.rows.page(start, stop, PAGE, counter)
            counted = count_anew(page.others, self.settings, self.rows.session_id)
            self.rows.store(counted, counter)
            yield from {**page.numbers, **counted}.items()
            start = page.end


def _changed_marks(marked: Mapping[int, int], kept: set[int], left_tail: set[int], cut: int) -> dict[int, int | None]:
    """Return the marks that change: `kept` stays before the cut, `left_tail` left behind it.

    What was kept before the cut and leaves now is handed over by its mark, wherever the consumers have come to: between
    their reading and their acknowledging it would be passed by.
    """
    marks: dict[int, int | None] = {}
    for seq in {*marked, *kept, *left_tail}:
        before = marked.get(seq)
        after: Mark | None = Mark.LEFT
        if seq in kept:
            after = Mark.KEPT
        elif seq in left_tail:
            after = Mark.ACKNOWLEDGED if before == Mark.ACKNOWLEDGED else Mark.LEFT
        elif seq >= cut or before == Mark.ACKNOWLEDGED:
            after = None
        if after != before:
            marks[seq] = None if after is None else int(after)
    return marks


def display_of(driver: WindowDriver | None) -> str:
    """Return what a reader needs beside the rows: what is clamped, and why the last is missing."""
    if driver is None:
        return json.dumps({"sizes": {}, "shortage": None})
    if (error := driver.shortage) is None:
        display: dict[str, Any] = {"sizes": driver.clamped(), "shortage": None}
        try:
            slots = driver.slots()
        except NothingLeftError as nothing:
            return json.dumps({**display, "nothing_left": nothing.results})
        if driver.mended():
            display["mended"] = [driver.count, list(map(slot_as_json, slots))]
        return json.dumps(display)
    about = {"tokens": error.tokens, "max_tokens": error.max_tokens, "made_of": error.made_of}
    return json.dumps({"sizes": {}, "shortage": {"message": str(error), **about}})


def open_calls_as_json(open_calls: Sequence[str | None] | None, *, has_question: bool) -> str | None:
    """Return what the next message needs to be looked at by; see `open_calls_after`."""
    if open_calls is None:
        return None
    return json.dumps(open_calls if has_question else {_BEFORE_QUESTION: open_calls})


def open_calls_after(stored: str | None, new: Sequence[NewMessage]) -> str | None:
    """Return the calls that messages leave open, as they are stored.

    `None` if the window's driver has to look at them: they change more than the sum.
    """
    if stored is None:
        return None
    try:
        found = _json(stored)
        has_question = isinstance(found, list)
        open_calls = found if has_question else found[_BEFORE_QUESTION]
    except (ValueError, TypeError, LookupError):
        return None
    for each in new:
        if each.numbers.kind == "human" and not has_question:  # with it leaves what came before
            return None
        if (open_calls := calls_left_open(open_calls, each.numbers)) is None:
            return None
    return open_calls_as_json(open_calls, has_question=has_question)


def _state_of(driver: WindowDriver) -> str:
    return json.dumps(driver.state(), separators=(",", ":"))


def _json(text: str) -> Any:
    return json.loads(text)
