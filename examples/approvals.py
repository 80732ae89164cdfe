"""An agent with a checkpointer, approvals and recall, within 400 tokens. The model is scripted.

A run stops at a call that needs a person's word and may wait for days: what the middleware has to know of a thread is
in its state, so any process that has the checkpointer goes on with the same window. What left that window the agent can
look up: `recall_tool` reads the thread.
"""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_tokenbuffer import TokenBufferMiddleware, recall_tool, validate
from langchain_tokenbuffer.middleware import TrimEvent

ORDERS = ["7 tulips", "3 roses", "9 asters", "5 lilies"]
ROSES = 1  # what nobody approves


@tool
def find_order(number: int) -> str:
    """Look an order up."""
    return f"Order {number}: {ORDERS[number]}, paid by card, to be delivered on Friday before noon. " * 3


@tool
def cancel_order(number: int) -> str:
    """Cancel an order and pay the money back."""
    return f"Order {number} is cancelled."


class Scripted(FakeMessagesListChatModel):
    """Plays its replies, and takes tools as a real model does."""

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """Take them."""
        return self


def call(name: str, number: int) -> AIMessage:
    """Reply with a call."""
    return AIMessage("", tool_calls=[ToolCall(name=name, args={"number": number}, id=f"{name} {number}")])


def turn(n: int) -> list[AIMessage]:
    """Look an order up, cancel it, and tell the guest."""
    answer = f"Order {n} cannot be cancelled." if n == ROSES else f"Order {n} is cancelled."
    return [call("find_order", n), call("cancel_order", n), AIMessage(answer)]


LAST = [
    AIMessage("", tool_calls=[ToolCall(name="recall", args={"question": "tulips"}, id="recall")]),
    AIMessage("It was order 0, the seven tulips."),
]


def show(event: TrimEvent) -> None:
    """Print a line for each call of the model."""
    print(f"  model: {event.kept} of {event.kept + event.dropped} messages, {event.tokens_after} tokens")


agent = create_agent(
    Scripted(responses=[*(reply for n in range(len(ORDERS)) for reply in turn(n)), *LAST]),
    [find_order, cancel_order, recall_tool(max_tokens=100, token_counter="o200k_base")],
    system_prompt="You look after the orders of a flower shop.",
    middleware=[
        TokenBufferMiddleware(400, token_counter="o200k_base", on_trim=show),
        HumanInTheLoopMiddleware(interrupt_on={"cancel_order": True}),
    ],
    checkpointer=InMemorySaver(),
)
thread: RunnableConfig = {"configurable": {"thread_id": "ann"}}
for n in range(len(ORDERS)):
    question: Any = {"messages": [("user", f"Please cancel order {n}.")]}
    print(f"> Please cancel order {n}.")
    state = agent.invoke(question, thread)
    (waiting,) = state["__interrupt__"]
    asked = waiting.value["action_requests"][0]
    decision: dict[str, str] = {"type": "approve"}
    if n == ROSES:
        decision = {"type": "reject", "message": "The roses are on their way already."}
    print(f"  {asked['name']}({asked['args']['number']}): {decision['type']}")
    state = agent.invoke(Command(resume={"decisions": [decision]}), thread)
    print(f"  {state['messages'][-1].text}")
last: Any = {"messages": [("user", "Which order had the tulips?")]}
print("> Which order had the tulips?")
state = agent.invoke(last, thread)
print(f"  recall: {state['messages'][-2].text}\n  {state['messages'][-1].text}")
print(f"\nThe state holds {len(state['messages'])} messages; out of order are {len(validate(state['messages']))}.")
