"""memory=, chat history and middleware= with a real model on loopback: run `make local_model`.

What the server bills for each prompt (`usage.prompt_tokens`), what was counted for it before it was
sent, and what the server had to evaluate because its cache did not hold it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from typing_extensions import override

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    TokenBufferChatMessageHistory,
    TokenBufferMiddleware,
    TokenCounter,
)

if TYPE_CHECKING:
    from langchain_core.outputs import ChatGeneration, LLMResult

QUESTIONS = [
    "What is a river?",
    "Why are maps drawn with north at the top, and since when has that been so?",
    "How long does it take to walk 20 km?",
    "Name three birds that live near water, and say what each of them eats in winter.",
    "Why?",
    "What would you take along for a day in the rain?",
    "How would you explain the tide to a child who has never seen the sea?",
    "Thank you. What was my first question?",
]
ROOT = Path(__file__).resolve().parents[1]


# --- the surfaces ---------------------------------------------------------------------------------

Ask = Callable[[str], object]


def with_memory(model: ChatOpenAI, counter: TokenCounter, budget: int) -> Ask:
    """memory=: the budget is the history's; the question comes on top."""
    memory = ConversationTokenBufferMemory(llm=counter, max_token_limit=budget, return_messages=True, trim_to=0.6)

    def ask(question: str) -> None:
        history = memory.load_memory_variables({})["history"]
        reply = model.invoke([*history, HumanMessage(question)])
        memory.save_context({"input": question}, {"output": str(reply.content)})

    return ask


def with_history(model: ChatOpenAI, counter: TokenCounter, budget: int) -> Ask:
    """RunnableWithMessageHistory: the same, and everything stays stored."""
    stored = InMemoryChatMessageHistory()

    def get_session_history() -> BaseChatMessageHistory:
        return TokenBufferChatMessageHistory(stored, max_tokens=budget, token_counter=counter)

    prompt = ChatPromptTemplate([MessagesPlaceholder("history"), ("human", "{question}")])
    chain = RunnableWithMessageHistory(
        prompt | model,
        get_session_history,
        input_messages_key="question",
        history_messages_key="history",
        history_factory_config=[],
    )
    return lambda question: chain.invoke({"question": question})


def with_middleware(model: ChatOpenAI, counter: TokenCounter, budget: int, trim_to: float = 0.6) -> Ask:
    """middleware=: the budget is the whole prompt's."""
    trimming = TokenBufferMiddleware(budget, token_counter=counter, trim_to=trim_to)
    agent: Any = create_agent(model, middleware=[trimming], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "one"}}
    return lambda question: agent.invoke({"messages": [HumanMessage(question)]}, thread)


SURFACES = {"memory": with_memory, "chat history": with_history, "middleware": with_middleware}


# --- the tables -----------------------------------------------------------------------------------


def show_counting(model: ChatOpenAI, ledger: Ledger, counters: dict[str, TokenCounter]) -> None:
    """A chat that nothing is trimmed of: the bill against each count, before it is sent."""
    print("A growing chat, nothing trimmed. Count before sending, without and with the usage that")
    print("the replies so far report (anchor=True):\n")
    print(f"{'billed':>8}", *(f"{name:>16} {'anchored':>9}" for name in counters))
    chat: list[BaseMessage] = []
    for question in QUESTIONS:
        chat.append(HumanMessage(question))
        counts = [f"{each.count(chat):16} {each.count(chat, anchor=True):9}" for each in counters.values()]
        chat.append(model.invoke(chat))
        print(f"{ledger.calls[-1].billed:8}", *counts)


def show_surface(name: str, ask: Ask, ledger: Ledger, counter: TokenCounter) -> None:
    """A chat through a surface: what was sent of it, and what the server made of that."""
    print(f"\n{name}\n{'sent':>8} {'billed':>8} {'counted':>8} {'evaluated':>10}")
    for question in QUESTIONS:
        ask(question)
        call = ledger.calls[-1]
        counted = counter(call.sent)
        print(f"{len(call.sent):8} {call.billed:8} {counted:8} {call.evaluated:10}")


def main() -> None:
    """Talk to the model through each surface."""
    warnings.filterwarnings("ignore", message=".*(MessageHistory)")  # they leave in 2.0
    warnings.filterwarnings("ignore", message="The model name 'smollm2'")  # what is shown here
    with serving() as served:
        print(f"SmolLM2-135M-Instruct answers at {served.base_url}\n")
        ledger = Ledger()
        model = chat_model(served, ledger)
        counter = TokenCounter(OwnTokenizer(served.weights))
        show_counting(model, ledger, {"stand-in": TokenCounter(model), "its own": counter})
        budget = 160
        print(f"\nThe same questions within {budget} tokens; to a history the question is added:")
        for name, surface in SURFACES.items():
            show_surface(name, surface(model, counter, budget), ledger, counter)


# --- what was billed ------------------------------------------------------------------------------


class Call(NamedTuple):
    """A prompt and its bill, in tokens; what is billed and not cached was evaluated."""

    sent: list[BaseMessage]
    billed: int
    cached: int

    @property
    def evaluated(self) -> int:
        """What the server's cache did not hold."""
        return self.billed - self.cached


class Ledger(BaseCallbackHandler):
    """Keeps each prompt as it was sent, whatever surface sent it, and what was billed for it."""

    def __init__(self) -> None:
        """Begin empty."""
        self.calls: list[Call] = []
        self._sent: list[BaseMessage] = []

    @override
    def on_chat_model_start(self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **_: Any) -> None:
        """Keep the prompt."""
        self._sent = messages[0]

    @override
    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Keep the bill."""
        reply = cast("AIMessage", cast("ChatGeneration", response.generations[0][0]).message)
        assert reply.usage_metadata is not None  # noqa: S101  # llama.cpp always says it
        cached = reply.usage_metadata.get("input_token_details", {}).get("cache_read", 0)
        self.calls.append(Call(self._sent, reply.usage_metadata["input_tokens"], cached))


def chat_model(served: Served, ledger: Ledger, model: str = "smollm2", reply: int = 24) -> ChatOpenAI:
    """Return the model as any OpenAI-compatible server is asked; replies of few tokens."""
    return ChatOpenAI(
        base_url=served.base_url,
        api_key=SecretStr("none is asked for"),
        model=model,
        temperature=0,
        max_completion_tokens=reply,
        max_retries=0,
        callbacks=[ledger],
    )


# --- the server and its tokenizer -----------------------------------------------------------------


class Served(NamedTuple):
    """Where a model answers, and the file with its weights."""

    base_url: str
    weights: str


@contextmanager
def serving(model: str = "smollm2", context: int = 4096) -> Iterator[Served]:
    """Start the server in its own virtualenv; it ends with this block, or with this process.

    Args:
        model: As `local_server.py` names it.
        context: The most tokens of a prompt and its reply.

    Raises:
        FileNotFoundError: If the virtualenv is not there.
        RuntimeError: If the server does not start; it said why on the standard error.
    """
    python = ROOT / ".venv-local" / "bin" / "python"
    if not python.exists():
        msg = f"The server's virtualenv {python.parents[1]} is not there; run: make local_model"
        raise FileNotFoundError(msg)
    server = str(ROOT / "examples" / "local_server.py")
    command = [str(python), server, model, "--context", str(context)]
    with subprocess.Popen(  # noqa: S603  # a command of our own
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  # as asked for
        ready = process.stdout.readline()
        if not ready:
            msg = f"The server of {model} did not start; exit code {process.wait()}"
            raise RuntimeError(msg)
        yield Served(**json.loads(ready))


class OwnTokenizer:
    """The model's own tokenizer and chat template, from its weights.

    As the `AutoTokenizer` of the package transformers would give them: what `token_counter=` takes.
    """

    def __init__(self, weights: str) -> None:
        """Read the file's header."""
        fields = GGUFReader(weights).fields
        tokens, merges, kinds, self.chat_template = (
            fields[name].contents()
            for name in (
                "tokenizer.ggml.tokens",
                "tokenizer.ggml.merges",
                "tokenizer.ggml.token_type",
                "tokenizer.chat_template",
            )
        )
        vocabulary = {token: number for number, token in enumerate(tokens)}
        pairs = [tuple(merge.split(" ")) for merge in merges]
        self.tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        self.tokenizer.decoder = decoders.ByteLevel()
        control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
        self.tokenizer.add_special_tokens(control)
        self._template = ImmutableSandboxedEnvironment().from_string(self.chat_template)

    def encode(self, text: str) -> list[int]:
        """Return a text's tokens."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self.tokenizer.decode(ids)

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> list[int]:
        """Return the tokens of a prompt."""
        return self.encode(self._template.render(messages=messages, **options))


CONTROL = 3  # of GGUF's kinds of tokens: what frames a message


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(str(error))
