"""What counts each conversation: the model that the command names, else the one its file names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_tokenbuffer._replay.model_names import DEFAULT, context_of, counter_of, named_counter
from langchain_tokenbuffer._replay.simulation import CountedTranscript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._replay.transcripts import ModelSource, Transcript
    from langchain_tokenbuffer.counters import TokenCounter

_MOST = 4  # models that are described
_SOURCES: dict[ModelSource, str] = {
    "command": "as --model says",
    "file": "as the file says",
    "default": "the default, since the file names no model",
}


class Counters:
    """A counter for each model, made once."""

    def __init__(self, given: str | None) -> None:
        """Take the name that the command gives; `None`: it gives none."""
        self._given = given
        self._made: dict[tuple[str, ModelSource], TokenCounter] = {}

    def counted(self, transcript: Transcript) -> CountedTranscript:
        """Return a conversation as its model counts it; its transcript says which that is, and who named it."""
        if self._given is not None:
            transcript = replace(transcript, model=self._given, model_from="command")
        elif transcript.model is None:
            transcript = replace(transcript, model=DEFAULT, model_from="default")
        else:
            transcript = replace(transcript, model_from="file")
        return CountedTranscript(transcript, self._counter(transcript))

    def _counter(self, transcript: Transcript) -> TokenCounter:
        key = model, source = str(transcript.model), transcript.model_from
        if key not in self._made:
            self._made[key] = named_counter(model) if source == "file" else counter_of(model)
        return self._made[key]

    @property
    def names(self) -> str:
        """The models, with commas between them."""
        return ", ".join(dict.fromkeys(model for model, _ in self._made))

    @property
    def context(self) -> int | None:
        """How many tokens the models take, where that is known: what the smallest does."""
        return min(filter(None, (context_of(model) for model, _ in self._made)), default=None)

    def describe(self, transcripts: Sequence[Transcript]) -> str:
        """Say what counted, and who named it: of several models those of most conversations."""
        counts = Counter((str(each.model), each.model_from) for each in transcripts).most_common()
        lines = [f"{self._made[key].describe()}; {_SOURCES[key[1]]}" for key, _ in counts[:_MOST]]
        if len(counts) == 1:
            return lines[0]
        lines = [f"{n:,} as {line}" for (_, n), line in zip(counts, lines, strict=False)]
        if others := sum(n for _, n in counts[_MOST:]):
            lines.append(f"{others:,} as {len(counts) - _MOST:,} others")
        return "\n  ".join([f"{len(counts):,} models, each its own conversations:", *lines])
