"""RunnableWithMessageHistory: a prompt, a history for each user, streaming, a restart. The model is scripted."""

import asyncio
import tempfile
import warnings
from pathlib import Path

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_tokenbuffer import SQLTokenBufferHistory, TokenCounter

warnings.filterwarnings("ignore", message=".*RunnableWithMessageHistory")  # it says it leaves in 2.0

MAX_TOKENS = 120  # of the whole prompt
SYSTEM = "You are a patient gardener. Answer in one or two sentences, and say when to do it."
MORNING = {
    "When do I sow radishes?": "From March on, as soon as the soil is dry; sow some more every two weeks.",
    "And how far apart?": "A thumb's breadth apart, and a hand's breadth between the rows.",
    "My roses have black spots. What now?": "Cut off what has spots today, and water the soil, not the leaves.",
}
EVENING = {"And next year?": "Plant roses in the sun, with room between them, and feed them in April."}

prompt = ChatPromptTemplate.from_messages([("system", SYSTEM), MessagesPlaceholder("history"), ("human", "{question}")])
counter = TokenCounter("o200k_base")  # or the model
# A history knows nothing of what stands around it: keep room for the system message and for a question.
around = counter(prompt.invoke({"history": [], "question": max(MORNING, key=len)}).to_messages())


def measure(asked: PromptValue) -> PromptValue:
    """Print what the model is sent."""
    messages = asked.to_messages()
    print(f"  ({len(messages)} messages, {counter(messages)} of at most {MAX_TOKENS} tokens)")
    return asked


def start(database: Path, replies: list[str]) -> RunnableWithMessageHistory:
    """Return the chain, as the application makes it when it starts."""

    def get_session_history(session_id: str) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(
            session_id, database, max_tokens=MAX_TOKENS, token_counter=counter, reserve_tokens=around
        )

    model = GenericFakeChatModel(messages=iter(replies))
    return RunnableWithMessageHistory(
        prompt | measure | model, get_session_history, input_messages_key="question", history_messages_key="history"
    )


async def talk(database: Path, script: dict[str, str]) -> None:
    """Ask each question, and print each reply as it comes."""
    chain = start(database, list(script.values()))
    for question in script:
        print(f"> {question}")
        async for chunk in chain.astream({"question": question}, {"configurable": {"session_id": "ann"}}):
            print(chunk.text, end="", flush=True)
        print()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chats.db"
        asyncio.run(talk(file, MORNING))
        print("\nThe application starts anew.\n")
        asyncio.run(talk(file, EVENING))
        with SQLTokenBufferHistory("ann", file, max_tokens=MAX_TOKENS, token_counter=counter) as history:
            print(f"\n{len(history.all_messages())} messages are stored")
