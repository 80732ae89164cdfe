"""middleware=: sixty steps of an agent within 1,500 tokens. The model is scripted."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import tool

from langchain_tokenbuffer import TokenBufferMiddleware
from langchain_tokenbuffer.middleware import TrimEvent

STEPS, GREEDY = 60, 30  # at the greedy one it reads far too much
FILES = {"poem.txt": [f"Line {n}: the tide comes in, the tide goes out." for n in range(1, 401)]}


@tool
def calculate(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def read_file(path: str, first: int, last: int) -> str:
    """Read some lines of a file."""
    return "\n".join(FILES[path][first:last])


class Scripted(FakeMessagesListChatModel):
    """Plays its replies, and takes tools as a real model does."""

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """Take them."""
        return self


def step(n: int) -> AIMessage:
    """Reply with a calculation or with some reading."""
    lines = {"path": "poem.txt", "first": 0 if n == GREEDY else n * 5, "last": n * 5 + 10}
    name, args = ("calculate", {"a": n, "b": n}) if n % 3 else ("read_file", lines)
    return AIMessage(f"Step {n}.", tool_calls=[ToolCall(name=name, args=args, id=f"call_{n}")])


def show(event: TrimEvent) -> None:
    """Print a line for each call of the model."""
    print(
        f"{event.reason:8} sent {event.tokens_after:5} of {event.tokens_before:5} tokens, "
        f"{event.reusable_tokens:5} as in the last call; messages: {event.kept:3} seen, "
        f"{event.dropped:3} dropped, {event.clamped} clamped"
    )


agent = create_agent(
    Scripted(responses=[*map(step, range(STEPS)), AIMessage("All read, all calculated.")]),
    [calculate, read_file],
    system_prompt="You read poems and calculate.",
    middleware=[TokenBufferMiddleware(1500, token_counter="o200k_base", on_trim=show)],
)
question: Any = {"messages": [("user", "Read the poem and square every third line's number.")]}
state = agent.invoke(question, {"recursion_limit": 200})
print(f"\nThe state still holds all {len(state['messages'])} messages.")
