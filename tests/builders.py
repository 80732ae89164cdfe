"""What tests of several folders build: texts, counters, messages, conversations, scripts.

Nothing here imports the package. What one folder alone needs lies in it (`agents/scripted.py`,
`memory/stand_ins.py`, `sql/workers.py`); what Hypothesis draws is in `strategies.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]


# --- texts ------------------------------------------------------------------------------------


def repeat_word(times: int, word: str = "word") -> str:
    """Return a text of one word, so many times."""
    return " ".join([word] * times)


def numbered_text(number: int, times: int = 1) -> str:
    """Return a text of so many words that no other number has."""
    return repeat_word(times, f"w{number}")


# --- counters ---------------------------------------------------------------------------------


def count_words(messages: Sequence[BaseMessage]) -> int:
    """Count words, two for each message and five for the request: additive and fast."""
    return 5 + sum(2 + _words_of(message) for message in messages)


def count_words_by_threes(messages: Sequence[BaseMessage]) -> int:
    """Count three words as one token, rounded up over the whole: not additive."""
    return -(-sum(2 + _words_of(message) for message in messages) // 3)


def _words_of(message: BaseMessage) -> int:
    calls = getattr(message, "tool_calls", None) or []
    return len(message.text.split()) + sum(1 + len(str(call["args"]).split()) for call in calls)


def count_content_words(messages: Sequence[BaseMessage]) -> int:
    """Count the words of the contents and nothing else: numbers one can check by eye."""
    return sum(len(str(message.content).split()) for message in messages)


def count_content_words_by_tens(messages: Sequence[BaseMessage]) -> int:
    """Count the words of the contents, the sum rounded up to tens: not additive."""
    return -(-count_content_words(messages) // 10) * 10


def letters_as_tokens(text: str) -> list[int]:
    """Return a token for each letter: a model's `custom_get_token_ids`."""
    return [ord(letter) for letter in text]


# --- messages ---------------------------------------------------------------------------------


def ai_calling(*calls: tuple[str, dict[str, Any], str], content: Any = "") -> AIMessage:
    """Return an AI message that calls tools: name, arguments, id."""
    return AIMessage(content=content, tool_calls=[ToolCall(name=n, args=a, id=i) for n, a, i in calls])


def contents_of(messages: Sequence[BaseMessage]) -> list[object]:
    """Return what messages hold."""
    return [message.content for message in messages]


def texts_of(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the text of messages."""
    return [message.text for message in messages]


def comparable(messages: Sequence[BaseMessage], *, ids: bool = False) -> list[tuple[Any, ...]]:
    """Return what a model is shown of messages, as plain data, and their ids where wanted."""
    return [
        (
            message.id if ids else None,
            message.type,
            message.content,
            [(each["name"], each["args"], each["id"]) for each in getattr(message, "tool_calls", [])],
        )
        for message in messages
    ]


# --- conversations ----------------------------------------------------------------------------


def turn(number: int) -> list[BaseMessage]:
    """Return a question and its answer."""
    return [HumanMessage(f"question {number}"), AIMessage(f"answer {number} at some length")]


def chat(turns: int) -> list[BaseMessage]:
    """Return so many turns of a few words each, all different."""
    return [message for number in range(turns) for message in turn(number)]


def chat_with_ids(turns: int, words: int = 40) -> list[BaseMessage]:
    """Return turns of equal messages that have ids: `q0`, `a0`, `q1`..."""
    messages: list[BaseMessage] = []
    for n in range(turns):
        messages.append(HumanMessage(f"Question {n}: " + "bread " * words, id=f"q{n}"))
        messages.append(AIMessage(f"Answer {n}: " + "flour " * words, id=f"a{n}"))
    return messages


def random_chat(turns: int, *, seed: int = 1, longest: int = 40) -> list[BaseMessage]:
    """Return a system message and turns of random lengths, the same for each seed."""
    random = Random(seed)
    messages: list[BaseMessage] = [SystemMessage("be brief")]
    for n in range(turns):
        messages.append(HumanMessage(f"{n} {repeat_word(random.randint(1, longest))}"))
        messages.append(AIMessage(repeat_word(random.randint(1, longest))))
    return messages


def tool_loop(steps: int, words: int = 20, parallel: int = 1) -> list[BaseMessage]:
    """Return one question and so many steps whose results are in: `q`, `a0`, `t0call0`, `a1`...

    The ids of the calls come again at every step, as those of real models do.
    """
    messages: list[BaseMessage] = [HumanMessage("Look.", id="q")]
    for n in range(steps):
        ids = [f"call{i}" for i in range(parallel)]
        calls = ai_calling(*[("look", {"at": n}, each) for each in ids])
        messages.append(calls.model_copy(update={"id": f"a{n}"}))
        # In the other order: tools that run at the same time end when they end.
        messages += [ToolMessage(repeat_word(words), tool_call_id=each, id=f"t{n}{each}") for each in reversed(ids)]
    return messages


# --- scripts ----------------------------------------------------------------------------------


def run_script(code: str, *arguments: str) -> str:
    """Run code in a Python of its own, from the root; return all it printed, errors included."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.stdout


FORKED = """
import json, os, sys, tempfile, traceback
setup, codes = json.loads(sys.argv[1])
exec(setup)
printed = []
for code in codes:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            try:
                exec(code)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(0)  # to take down all that was imported would take longer than most codes
        os.waitpid(child, 0)
        output.seek(0)
        printed.append(output.read())
print(json.dumps(printed))
"""


def run_scripts(setup: str, *codes: str) -> list[str]:
    """Run each code in a Python of its own, as `run_script` does, one after the other.

    Each is forked from one that has run the setup and nothing else: what is slow to import is
    imported once, and what a code does first is done first.
    """
    printed: list[str] = json.loads(run_script(FORKED, json.dumps([setup, codes])))
    return printed
