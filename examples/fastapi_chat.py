"""FastAPI: fifty users at once, each with a conversation in one database. The model is scripted.

On SQLite as it is; on PostgreSQL with a URL:

    TOKENBUFFER_EXAMPLE_URL=postgresql+psycopg://postgres@127.0.0.1:5432/test python examples/fastapi_chat.py

In an application of your own `app` is what uvicorn serves: `uvicorn --workers 4 fastapi_chat:app`.
"""

import asyncio
import os
import tempfile
import uuid
from pathlib import Path

import httpx
from fastapi import FastAPI
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel

from langchain_tokenbuffer import SQLTokenBufferHistory, TokenCounter

USERS, TURNS, MAX_TOKENS = 50, 6, 160
SYSTEM = SystemMessage("You know the town and answer in one sentence.")
ROOM = 60  # tokens kept free for the system message and the question

counter = TokenCounter("o200k_base")  # one for all: what it counted it does not count again
model = FakeListChatModel(responses=["Two streets from here, behind the old market hall."])
app = FastAPI()
app.state.database = os.environ.get("TOKENBUFFER_EXAMPLE_URL", "sqlite:///chats.db")


class Question(BaseModel):
    """What a user asks."""

    text: str


class Answer(BaseModel):
    """What the user gets, and what the request was."""

    text: str
    messages: int
    tokens: int


def history(chat: str) -> SQLTokenBufferHistory:
    """Return a new object for each request: they are cheap, and the connections are shared."""
    return SQLTokenBufferHistory(
        chat, app.state.database, max_tokens=MAX_TOKENS, token_counter=counter, reserve_tokens=ROOM
    )


@app.post("/chats/{chat}")
async def ask(chat: str, question: Question) -> Answer:
    """Answer with the window of the conversation, and store the turn at once."""
    stored, asked = history(chat), HumanMessage(question.text)
    request = [SYSTEM, *await stored.aget_messages(), asked]
    reply = await model.ainvoke(request)
    await stored.aadd_messages([asked, reply])
    return Answer(text=reply.text, messages=len(request), tokens=counter(request))


async def talk(client: httpx.AsyncClient, chat: str) -> list[Answer]:
    """Be a user: ask, wait for the answer, ask on."""
    answers = []
    for turn in range(TURNS):
        question = Question(text=f"This is {chat}, question {turn}: where do I find the bakery?")
        response = await client.post(f"/chats/{chat}", json=question.model_dump())
        answers.append(Answer.model_validate(response.raise_for_status().json()))
    return answers


async def main() -> None:
    """Let all users talk at once, then look at what is stored."""
    chats = [f"{uuid.uuid4().hex[:8]}-{user}" for user in range(USERS)]
    transport = httpx.ASGITransport(app)  # the application itself, without a server
    async with httpx.AsyncClient(transport=transport, base_url="http://town") as client:
        answers = await asyncio.gather(*(talk(client, chat) for chat in chats))
    stored = [await history(chat).aall_messages() for chat in chats]
    own = all(chat in each.text for chat, all_ in zip(chats, stored, strict=True) for each in all_[::2])
    print(f"{USERS} users at once, {sum(map(len, answers))} requests answered")
    print(f"{sum(map(len, stored))} messages are stored, each in its own conversation: {own}")
    last = [each[-1] for each in answers]
    print(f"the last requests had {max(each.messages for each in last)} messages of {2 * TURNS}")
    biggest = max(answer.tokens for each in answers for answer in each)
    print(f"the biggest request had {biggest} tokens, at most {MAX_TOKENS}: {biggest <= MAX_TOKENS}")
    for chat in chats:
        await history(chat).adelete_session()
    await history("").aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        if "TOKENBUFFER_EXAMPLE_URL" not in os.environ:
            app.state.database = str(Path(folder) / "chats.db")
        asyncio.run(main())
