"""What the middleware adds to a model call, against `trim_messages` with the exact counter.

Ratios within one run: what is compared alternates. The time is the processor's, so that a busy
machine is not counted. Both stand in the same hook, `wrap_model_call`,
of an agent in a tool loop, at the growing end of a long conversation.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware.types import AgentMiddleware, ModelResponse
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    trim_messages,
)
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from tests.agents.scripted import look, request

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = 8000
SIZES = {1000: 2.0, 5000: 8.0}
"""Messages, and the milliseconds a call may take."""
RATIO = 20
CALLS = 15
MODEL = ChatOpenAI(model="gpt-4o", api_key=SecretStr("not needed for counting"))
SYSTEM = SystemMessage("You look everywhere and say what you saw.")
TOOLS = [look()]


class TrimMessages(AgentMiddleware[Any, Any, Any]):
    """What people write themselves: `trim_messages` before each call."""

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Trim, and hand on."""
        window = trim_messages(request.messages, max_tokens=BUDGET, token_counter=MODEL, start_on="human")
        return handler(request.override(messages=window))


def conversation(length: int) -> list[BaseMessage]:
    """A tool loop with a question now and then, as a checkpointer returns it."""
    messages: list[BaseMessage] = []
    while len(messages) < length:
        n = len(messages)
        if n % 50 == 0:
            messages.append(HumanMessage(f"What is at {n}?", id=f"h{n}"))
        args = {"path": f"src/part_{n}/module.py", "line": n, "around": True}
        made = [ToolCall(name="look", args=args, id=f"call_{n}")]
        messages.append(AIMessage(f"I look at {n} now.", tool_calls=made, id=f"a{n}"))
        seen = f"{n}: " + "there is something to see here, and more behind it. " * 4
        messages.append(ToolMessage(seen, tool_call_id=f"call_{n}", id=f"t{n}"))
    return messages[:length]


def milliseconds(middleware: AgentMiddleware[Any, Any, Any], messages: list[BaseMessage]) -> float:
    """Time one call of the hook; the model itself takes no time."""
    asked = request(messages, model=MODEL, system_message=SYSTEM, tools=TOOLS)
    done = ModelResponse[Any](result=[])
    start = time.thread_time()
    middleware.wrap_model_call(asked, lambda _: done)
    return (time.thread_time() - start) * 1000


def main() -> None:
    """Print a table."""
    print("\n### What the middleware adds to a model call (gpt-4o's tokenizer, 8,000 tokens)\n")
    print("| messages | TokenBufferMiddleware | trim_messages | ratio | target |")
    print("| --: | --: | --: | --: | --- |")
    for size, limit in SIZES.items():
        messages = conversation(size)
        ours, other = TokenBufferMiddleware(BUDGET), TrimMessages()
        milliseconds(ours, messages[: size - 2 * CALLS - 2])  # the conversation up to here
        milliseconds(other, messages[: size - 2 * CALLS - 2])
        gc.collect()
        own, theirs = [], []
        for end in range(size - 2 * CALLS, size, 2):
            own.append(milliseconds(ours, messages[:end]))
            if end % 6 == 0:  # it is slow
                theirs.append(milliseconds(other, messages[:end]))
        mine, their = statistics.median(own), statistics.median(theirs)
        is_met = mine <= limit and their >= RATIO * mine
        print(
            f"| {size:,} | {mine:.2f} ms | {their:.0f} ms | {their / mine:.0f}x | at most "
            f"{limit:g} ms, at least {RATIO}x: {'met' if is_met else 'MISSED'} |"
        )


if __name__ == "__main__":
    main()
