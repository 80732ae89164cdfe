"""Summarising what leaves: each message is read once more, when it leaves the window. The model is scripted.

The summary is the session's metadata and stands in the system message, so it costs tokens of its own, here at most 60.
What left is still stored, word for word.
"""

import tempfile
from pathlib import Path

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, get_buffer_string

from langchain_tokenbuffer import SQLTokenBufferHistory, TokenBuffer, TokenCounter

MAX_TOKENS, SUMMARY_TOKENS = 180, 60
TALK = {
    "I am Ann, and I plan a week in Lisbon in May.": "May is a good time: warm, and not yet full.",
    "I do not fly, so I come by train.": "Then change in Madrid or take the coast line by way of Porto.",
    "My daughter is six.": "She will like the old tram and the oceanarium.",
    "We eat no fish.": "Ask for what is called the dish of the day without fish; every small place has one.",
    "What do we do when it rains?": "The tile museum is dry, and there is a workshop for children on Saturday.",
    "Which day is best for the tram?": "Tuesday, before nine, from the last stop.",
}
SUMMARIES = [
    "Ann, a week in Lisbon in May, by train, with her daughter of six.",
    "Ann, a week in Lisbon in May, by train, with her daughter of six; no fish. Rain: tile museum.",
]

SYSTEM = "You help to plan a journey."
counter = TokenCounter("o200k_base")
model = FakeListChatModel(responses=list(TALK.values()))
summarizer = FakeListChatModel(responses=SUMMARIES)  # a small, cheap model will do
clamp = TokenBuffer(SUMMARY_TOKENS, token_counter=counter)


def system(history: SQLTokenBufferHistory) -> SystemMessage:
    """Return the system message with the summary as it is now."""
    summary = history.get_metadata().get("summary")
    return SystemMessage(f"{SYSTEM}\n\nSo far: {summary}" if summary else SYSTEM)


def summarize(history: SQLTokenBufferHistory) -> None:
    """Bring the summary up to what left the window; nothing happens where nothing left.

    What is handed over comes again if the model or the database fails, so the summary misses nothing.
    """

    def extend(left: list[BaseMessage]) -> None:
        before = history.get_metadata().get("summary", "nothing")
        asked = f"Known so far: {before}\n\nSay in two sentences what is known now:\n{get_buffer_string(left)}"
        (summary,) = clamp.trim(
            [HumanMessage(summarizer.invoke(asked).text)]
        )  # at most SUMMARY_TOKENS, whatever it says
        history.set_metadata({"summary": summary.text})
        print(f"  {len(left)} messages left; summary: {summary.text}")

    history.evicted(extend)


def main(database: Path) -> None:
    """Play the talk."""
    around = counter([SystemMessage(SYSTEM), HumanMessage(max(TALK, key=len))]) + SUMMARY_TOKENS
    history = SQLTokenBufferHistory(
        "ann", database, max_tokens=MAX_TOKENS, token_counter=counter, reserve_tokens=around
    )
    for question in TALK:
        asked = HumanMessage(question)
        request = [system(history), *history.messages, asked]
        reply = model.invoke(request)
        history.add_messages([asked, reply])
        print(f"> {question}  ({len(request)} messages, {counter(request)} of {MAX_TOKENS} tokens)\n{reply.text}")
        summarize(history)  # in an application: behind the reply, or in a worker of its own
    print(f"\n{len(history.all_messages())} messages are stored. {system(history).text!r}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "chats.db")
