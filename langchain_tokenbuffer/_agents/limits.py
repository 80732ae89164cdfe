"""What refusals taught of one model: how many tokens its requests may have, and from which message on."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

logger = logging.getLogger(__name__)

_STEPS = 8
"""In so many steps, each by the same factor, a guess grows back."""
_CALLS_PER_STEP = 3
"""So many calls must succeed before the next step; after each refusal that follows, twice as many. A first guess is
gone after 24 calls; where the true limit is a fourth of the budget, 240 calls meet 8 refusals at most."""
_FALSE = 1.25
"""A request that is larger by this factor than the refused one, and succeeds, shows that the refusal was no limit. By
less, the two may only be counted differently."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one model in a thread.

    A limit that a provider did not name is a guess, and grows back while calls succeed. Each message is replayed under
    the limit of its time, so `steps` keeps the old ones, too.
    """

    steps: tuple[tuple[str | None, int | None], ...] = ()  # (id of the last message before it, or None; `max_tokens`,
    # or None for the settings' own), in order
    named: int | None = None  # the last limit that the provider named
    refused: int | None = None  # tokens of the request whose refusal named none; None: no guess is in force
    refusals: int = 0  # how many calls were refused so
    grown: int = 0  # how many steps the guess has grown
    calls: int = 0  # how many calls succeeded since

    @classmethod
    def load(cls, raw: Any) -> Limits:
        """Return the limits that `dump` was taken of; or of release 0.1.0, which only knew the last one."""
        if raw is None:
            return cls()
        if isinstance(raw, int):
            return cls(((None, raw),), named=raw)
        return cls(**{**raw, "steps": tuple((after, limit) for after, limit in raw["steps"])})

    def dump(self) -> dict[str, Any]:
        """Return it in plain JSON types, without what is as it was in the beginning."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["steps"] = [list(step) for step in self.steps]
        return {name: value for name, value in values.items() if value}

    def under(self, max_tokens: int) -> int:
        """Return the limit now in force."""
        limit = self.steps[-1][1] if self.steps else None
        return max_tokens if limit is None else min(limit, max_tokens)

    def starts(self, ids: Sequence[str | None]) -> list[tuple[int, int | None]]:
        """Return each step with the index of its first message. A message that is missing lies before all others."""
        if not self.steps:
            return []
        places = {each: index for index, each in enumerate(ids) if each is not None}
        starts, start = [], 0
        for after, limit in self.steps:
            start = max(start, places.get(after, -1) + 1) if after is not None else start
            starts.append((start, limit))
        return starts

    # --- what comes of a call ---

    def after_refusal(self, after: str | None, limit: int, *, tokens: int, is_named: bool, is_first: bool) -> Limits:
        """Return the limits after a request of so many tokens was refused, from the message behind `after` on.

        `is_first`: whether this is the call's first refusal.
        """
        learned = self.raised(after, limit)
        if is_named:
            return replace(learned, named=limit, refused=None)
        return replace(learned, refused=tokens, refusals=max(1, self.refusals + is_first), grown=0, calls=0)

    def after_success(self, last_id: str | None, max_tokens: int, tokens: int) -> Limits:
        """Return the limits after a request of so many tokens succeeded, whose last message is `last_id`."""
        if self.refused is None or last_id is None:
            return self
        if tokens >= _FALSE * self.refused:
            return replace(self.raised(last_id, self.named), refused=None, refusals=0)
        if self.calls + 1 < _CALLS_PER_STEP << min(self.refusals - 1, 16):
            return replace(self, calls=self.calls + 1)
        goal, limit = min(max_tokens, self.named or max_tokens), self.under(max_tokens)
        left = _STEPS - self.grown
        if left <= 1 or limit >= goal:
            return replace(self.raised(last_id, self.named), refused=None)
        larger = int(limit * (goal / limit) ** (1 / left))
        return replace(self.raised(last_id, larger), grown=self.grown + 1, calls=0)

    def raised(self, after: str | None, limit: int | None) -> Limits:
        """Return the limits with another one from the message behind `after` on."""
        before = self.steps[:-1] if self.steps and self.steps[-1][0] == after else self.steps
        return replace(self, steps=(*before, (after, limit)))

    def without(self, left: Collection[str | None]) -> Limits:
        """Return the limits of the messages that stay when some leave."""
        steps: list[tuple[str | None, int | None]] = []
        for after, limit in self.steps:
            kept = after if after not in left else steps[-1][0] if steps else None
            if steps and steps[-1][0] == kept:
                steps.pop()
            steps.append((kept, limit))
        return replace(self, steps=tuple(steps))


def log_limit(model: str, refused: int, limits: Limits, max_tokens: int) -> None:
    """Log which limit holds after a request of so many tokens was refused; a guess is a warning."""
    now = limits.under(max_tokens)
    if limits.refused is None:
        text = (
            "%s refused a request of %d tokens; by the limit it named, requests have at most %d of max_tokens %d now."
        )
        logger.info(text, model, refused, now, max_tokens)
        return
    text = (
        "%s refused a request of %d tokens and named no limit: requests have at most %d of max_tokens %d now. This is "
        "a guess and grows back while calls succeed; if refusals keep coming, set max_tokens to what it takes."
    )
    logger.warning(text, model, refused, now, max_tokens)


_MAX_UNSAVED = 1000


class UnsavedLimits:
    """What refusals taught in calls that failed in the end, so that no state holds it; by the id of a message.

    Only this process knows. Pickles and copies empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: OrderedDict[tuple[str, str], Limits] = OrderedDict()

    def __reduce__(self) -> tuple[type[UnsavedLimits], tuple[()]]:
        return UnsavedLimits, ()

    def keep(self, model: str, ids: Sequence[str | None], limits: Limits) -> None:
        """Keep what was learned from a request with these messages."""
        newest = next((each for each in reversed(ids) if each is not None), None)
        if newest is None:
            return
        with self._lock:
            self._limits[model, newest] = limits
            self._limits.move_to_end((model, newest))
            while len(self._limits) > _MAX_UNSAVED:
                self._limits.popitem(last=False)

    def find(self, model: str, ids: Sequence[str | None]) -> Limits | None:
        """Return what was learned last from a request whose messages are among these."""
        if not self._limits:
            return None
        keys = ((model, each) for each in reversed(ids) if each is not None)
        return next((limits for key in keys if (limits := self._limits.get(key)) is not None), None)

    def forget(self, model: str, ids: Sequence[str | None]) -> None:
        """Forget it: a state holds it now."""
        if self._limits:
            with self._lock:
                for each in ids:
                    self._limits.pop((model, each or ""), None)
