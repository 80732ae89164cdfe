"""How fast the memory saves, the buffer trims and the package imports, against LangChain's own.

Only ratios within one run are shown: what is compared alternates, so that a busy machine slows
both. Milliseconds beside them are for orientation.
"""

from __future__ import annotations

import gc
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, trim_messages
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenBuffer, TokenCounter
from langchain_tokenbuffer.counters import message_counter
from langchain_tokenbuffer.vocabularies import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic.memory import ConversationTokenBufferMemory as ClassicMemory

WORDS = (
    "the of a to and in is it you that I was for have with they about would really something "
    "yesterday think weekend recommend interesting conversation remember together favourite "
    "mountain music because feeling project started learning tomorrow, friend,"
)
"""Words of everyday talk: five characters a token, and most of them one token."""
FOREIGN = ("langchain", "langchain_core", "langchain_classic", "langchain_openai", "tiktoken")


class Row(NamedTuple):
    """One line of the table."""

    what: str
    ours: str
    other: str
    ratio: float
    target: float
    is_at_least: bool = True

    def __str__(self) -> str:
        """Return the line, in Markdown."""
        is_met = self.ratio >= self.target if self.is_at_least else self.ratio <= self.target
        sign = "≥" if self.is_at_least else "≤"
        verdict = "met" if is_met else "MISSED"
        return (
            f"| {self.what} | {self.ours} | {self.other} | {self.ratio:,.1f}x | {sign} {self.target:g}x | {verdict} |"
        )


def texts(tokens: int, seed: int) -> Iterator[str]:
    """Yield ever new texts of about so many tokens: nothing of them was ever counted."""
    rng, known = random.Random(seed), WORDS.split()
    for number in itertools.count():
        words = rng.choices(known, k=tokens - 4)
        yield f"{number}: {' '.join(words).capitalize()}."


def seconds(work: Callable[[], object]) -> float:
    """Return how long it took, with no collection of garbage falling into it."""
    gc.collect()
    gc.disable()
    try:
        start = time.thread_time()
        work()
        return time.thread_time() - start
    finally:
        gc.enable()


def medians(*works: Callable[[], object], rounds: int) -> list[float]:
    """Return the median seconds of each, from rounds in which all take their turn."""
    taken = [[seconds(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def ms(value: float) -> str:
    """Write seconds as milliseconds."""
    return f"{value * 1000:,.3f} ms"


def saves(limit: int, against_classic: float, rounds: int) -> list[Row]:
    """Measure `save_context` at a full buffer."""
    model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("x"))
    fresh = texts(45, seed=limit)
    ours = ConversationTokenBufferMemory(llm=model, max_token_limit=limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classic = ClassicMemory(llm=model, max_token_limit=limit)
    tokens, size = 0, TokenCounter(model)
    while tokens <= limit:
        turn = {"input": next(fresh)}, {"output": next(fresh)}
        ours.save_context(*turn)
        classic.chat_memory.add_messages(turn_of(*turn))  # its own saving would take minutes
        tokens += size(turn_of(*turn)) - message_counter(size).constant
    encode = load("o200k_base").encode_ordinary
    for _ in range(3):
        turn = {"input": next(fresh)}, {"output": next(fresh)}
        ours.save_context(*turn)
        classic.save_context(*turn)
    assert len(classic.chat_memory.messages) > len(ours.chat_memory.messages) - 3, "not full"
    # The texts are chosen before the clock starts, and each is counted by one only.
    stock = iter([({"input": next(fresh)}, {"output": next(fresh)}) for _ in range(200 * rounds)])
    batch = 50

    def floor() -> None:
        for _ in range(batch):
            inputs, outputs = next(stock)
            encode(inputs["input"])
            encode(outputs["output"])

    def save() -> None:
        for _ in range(batch):
            ours.save_context(*next(stock))

    classic_taken, our_taken, floor_taken = medians(
        lambda: classic.save_context(*next(stock)), save, floor, rounds=rounds
    )
    our_taken, floor_taken = our_taken / batch, floor_taken / batch
    what = f"`save_context`, full buffer of {limit:,} tokens"
    return [
        Row(
            f"{what}: classic / ours",
            ms(our_taken),
            ms(classic_taken),
            classic_taken / our_taken,
            against_classic,
        ),
        Row(
            f"{what}: ours / tokenizing the turn once",
            ms(our_taken),
            ms(floor_taken),
            our_taken / floor_taken,
            5.5,
            is_at_least=False,
        ),
    ]


def turn_of(inputs: dict[str, Any], outputs: dict[str, str]) -> list[BaseMessage]:
    """Return a turn as the messages it becomes."""
    return [HumanMessage(content=inputs["input"]), AIMessage(content=outputs["output"])]


def trims() -> Row:
    """Measure the second `trim` of an unchanged list of 60k tokens."""
    model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("x"))
    fresh = texts(100, seed=60)
    messages: list[BaseMessage] = []
    for _ in range(300):
        messages += turn_of({"input": next(fresh)}, {"output": next(fresh)})
    buffer = TokenBuffer(16_000, token_counter=model)
    buffer.trim(messages)
    theirs, ours = medians(
        lambda: trim_messages(messages, max_tokens=16_000, token_counter=model, strategy="last", start_on="human"),
        lambda: [buffer.trim(messages) for _ in range(20)],
        rounds=7,
    )
    ours /= 20
    what = f"second `trim`, unchanged {TokenCounter(model)(messages):,} tokens"
    return Row(f"{what}: `trim_messages` / ours", ms(ours), ms(theirs), theirs / ours, 100)


def imports() -> str:
    """Measure what importing the package costs, in fresh processes."""
    script = (
        "import json, sys, time; start = time.perf_counter(); import langchain_tokenbuffer; "
        "taken = time.perf_counter() - start; print(json.dumps([taken, sorted(sys.modules)]))"
    )
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    taken = statistics.median(run[0] for run in runs)
    roots = {name.partition(".")[0] for name in runs[0][1]}
    heavy = sorted(roots & {*FOREIGN, "sqlalchemy"})
    verdict = "met" if taken < 0.05 and not heavy else "MISSED"
    loaded = ", ".join(heavy) or "none"
    return f"| `import langchain_tokenbuffer` | {ms(taken)} | < 50 ms | {loaded} | {verdict} |"


def main() -> None:
    """Print the tables."""
    print("## Speed\n")
    print("| what | ours | other | ratio | target | |\n| --- | --: | --: | --: | --: | --- |")
    for limit, target, rounds in ((2_000, 15, 21), (16_000, 150, 9), (100_000, 800, 5)):
        for row in saves(limit, target, rounds):
            print(row, flush=True)
    print(trims(), flush=True)
    print("\n| what | time | target | LangChain, tiktoken or SQLAlchemy modules loaded | |")
    print("| --- | --: | --: | --- | --- |")
    print(imports())


if __name__ == "__main__":
    main()
