"""The question that a conversation has come to, and the terms it asks for."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage

from langchain_tokenbuffer._messages.kinds import facts_of
from langchain_tokenbuffer._recall.passages import passages_of
from langchain_tokenbuffer._recall.ranking import MOST_TERMS, asked_terms
from langchain_tokenbuffer._recall.terms import terms_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENOUGH = 2
"""A question of fewer terms is about what was asked before: it takes the terms of that question, too."""
OWN = 5
"""So many times as much as one of those its own term says."""


def newest_question(messages: Sequence[BaseMessage]) -> int | None:
    """Return the index of the question of the newest turn: what the user wrote last.

    A notification is one only while no user has written. O(turn).
    """
    return next(_questions(messages), None)


def question_terms(messages: Sequence[BaseMessage], question: BaseMessage | str) -> list[str]:
    """Return the terms of a question, as often as they count; of the question before only as many as are asked for.

    Args:
        messages: What was said before; it may end with the question itself.
        question: The question.

    Raises:
        TypeError: If the question is neither a text nor a message.
    """
    text = _text_of(question)
    terms = [*dict.fromkeys(terms_of(text))]
    if len(terms) >= ENOUGH:
        return terms
    before = (_text_of(messages[index]) for index in islice(_questions(messages), 2))
    borrowed = asked_terms(terms_of(next((each for each in before if each != text), "")))
    return [*terms * OWN, *borrowed[: MOST_TERMS - len(terms)]]


def has_question_before(messages: Sequence[BaseMessage]) -> bool:
    """Tell whether the newest question and the one before it are among the messages."""
    return len(list(islice(_questions(messages), 2))) == 2  # noqa: PLR2004  # these two


def _text_of(question: BaseMessage | str) -> str:
    if isinstance(question, str):
        return question
    if not isinstance(question, BaseMessage):
        msg = f"question must be a string or a message, got {type(question).__name__}"
        raise TypeError(msg)
    return "\n".join(passages_of(question))


def _questions(messages: Sequence[BaseMessage]) -> Iterator[int]:
    """Yield the indices of questions, the newest first."""
    humans = []
    has_user = False
    for index in range(len(messages) - 1, -1, -1):
        facts = facts_of(messages[index])
        if facts.kind == "human":
            if not facts.is_notification:
                has_user = True
                yield index
            humans.append(index)
    if not has_user:
        yield from humans
