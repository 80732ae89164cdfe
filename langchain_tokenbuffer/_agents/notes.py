"""Notes on replies, for later calls where the agent's private state ends with its run.

So it does in a node of a parent graph, in a tool, and for a caller that keeps the messages itself. A reply goes where
the messages go, and its notes with it: plain JSON in its `response_metadata`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables.config import ensure_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain.agents.middleware.types import ModelResponse
    from langchain_core.messages import BaseMessage

_KEY = "token_buffer"
_NO_REPLIES = frozenset({HumanMessage, SystemMessage, ToolMessage})


def thread_of_run() -> str | None:
    """Return the id of the thread that runs."""
    thread: str | None = ensure_config()["configurable"].get("thread_id")
    return thread


def run_around() -> str:
    """Return the namespace of the run in a parent graph that runs the agent, empty if none does."""
    namespace: str = ensure_config()["configurable"].get("checkpoint_ns", "")
    return namespace.rpartition("|")[0]


def is_state_kept() -> bool:
    """Tell whether the running agent's state is the thread's own: no graph and no caller around it keeps another."""
    return thread_of_run() is not None and not run_around()


class ReplyNotes:
    """The notes on the replies among an agent's messages.

    Attributes:
        limits: Model name to what refusals taught, which are `Limits` as JSON.
        shown: What the last call showed, which is a `ShownRecord` as JSON.
        added: What middlewares behind were seen to add, which is an `AddedBehind` as JSON.
        left: The ids of messages that were handed over and left the state of some agent.
        is_told: Whether it was said that they come again.
    """

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self.limits: dict[str, Any] = {}
        self.shown: list[Any] | None = None
        self.added: list[Any] = []
        self.left: set[str | None] = set()
        self._listed_in_run: list[tuple[str | None, list[str]]] = []  # each with the id of the reply that lists them
        self.is_told = False
        if not [each for each in messages if type(each) not in _NO_REPLIES and _KEY in each.response_metadata]:
            return  # hot: most threads have no notes
        for message in messages:
            if isinstance(message, HumanMessage):
                self._listed_in_run.clear()
            elif notes := message.response_metadata.get(_KEY):
                self.left |= {*notes.get("left", ())}
                self._listed_in_run.append((message.id, notes.get("left", [])))
                self.is_told |= bool(notes.get("told"))
        for message in self.not_left(messages):  # the newest reply has the last word
            notes = message.response_metadata.get(_KEY, {})
            self.limits |= notes.get("limits", {})
            self.shown = notes.get("shown", self.shown)
            self.added = notes.get("added", self.added)

    @classmethod
    def by(cls, messages: Sequence[BaseMessage]) -> ReplyNotes:
        """Return the notes that are needed: none where the private state says it all."""
        return cls(() if is_state_kept() else messages)

    def came_again(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return those of the messages that had left."""
        return [each for each in messages if each.id in self.left] if self.left else []

    def not_left(self, messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
        """Return the messages without those that had left."""
        return [each for each in messages if each.id not in self.left] if self.left else messages

    def on_reply(self, response: ModelResponse[Any], left: Sequence[BaseMessage], **notes: Any) -> ModelResponse[Any]:
        """Return the response with these notes on its reply, where the private state ends with its run.

        `left` are the messages that leave the agent's state. Those that are listed already stay so: who gives them
        again gives the reply again, too. Only a reply of this very run that leaves is seen by nobody, so another one
        takes its list over.
        """
        new = [each.id for each in left if each.id not in self.left]
        taken_over = [each for reply, listed in self._listed_in_run if reply in new for each in listed]
        notes |= {"left": [*taken_over, *new], "told": self.is_told or len(new) < len(left)}
        notes = {name: value for name, value in notes.items() if value}
        if not notes or is_state_kept():
            return response
        result = [*response.result]
        for place, reply in enumerate(result):
            if isinstance(reply, AIMessage):
                metadata = {**reply.response_metadata, _KEY: notes}
                result[place] = reply.model_copy(update={"response_metadata": metadata})
        return replace(response, result=result)
