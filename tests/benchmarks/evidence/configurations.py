"""What is compared: our settings, a row each, and everybody else as the benchmark of trimming calls them."""

from __future__ import annotations

import dataclasses
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer import TokenBuffer
from tests.benchmarks.trimming.conversations import ENCODING
from tests.benchmarks.trimming.peers import PEERS
from tests.benchmarks.trimming.policies import LANGCHAIN, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.trimming.conversations import Conversation
    from tests.benchmarks.trimming.policies import Ask, Open

MARKS = (0.6, 0.5, 0.8, 1.0)
VARIANTS: list[dict[str, Any]] = [{}, {"clear_results": True}]
"""What is tried at each `trim_to`; the first is what the others are compared with."""


def configuration(settings: Mapping[str, Any], buffer: type[TokenBuffer] = TokenBuffer) -> Policy:
    """Return a row of ours; another rule can be tried as a subclass of `TokenBuffer`."""
    shown = "".join(f", {key}={value}" for key, value in settings.items() if (key, value) != ("trim_to", MARKS[0]))
    name = f"`{buffer.__name__}({shown.removeprefix(', ')})`" if shown else f"`{buffer.__name__}`"
    return Policy(name, partial(_buffered, settings, buffer), is_ours=True, trim_to=settings["trim_to"])


def _buffered(settings: Mapping[str, Any], buffer: type[TokenBuffer], max_tokens: int) -> Open:
    def open_(conversation: Conversation) -> Ask:
        made = buffer(max_tokens, token_counter=ENCODING, **settings)
        return lambda n: made.trim([*conversation.head, *conversation.messages[:n]])

    return open_


def base_of(settings: Mapping[str, Any]) -> str | None:
    """Return the name of the row that a row of ours is compared with, if it is not that one itself."""
    plain = {"trim_to": settings["trim_to"], **VARIANTS[0]}
    return None if plain == settings else configuration(plain).name


KNOWN = inspect.signature(TokenBuffer).parameters.keys()
SETTINGS = [{"trim_to": mark, **variant} for variant in VARIANTS if variant.keys() <= KNOWN for mark in MARKS]
"""Ours; a setting that this version does not have is left out."""
OURS = [configuration(settings) for settings in SETTINGS]
BASES = {policy.name: base_of(settings) for policy, settings in zip(OURS, SETTINGS, strict=True)}
MOST = 10_000
"""The longest conversation, in tokens, for those that tokenize everything again for each message they drop."""
OTHERS = [each if each.most is None else dataclasses.replace(each, most=MOST) for each in (*LANGCHAIN, *PEERS)]
POLICIES = [*OURS, *OTHERS]
