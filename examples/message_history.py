"""RunnableWithMessageHistory: everything is stored, the model sees a window."""

import warnings
from collections import defaultdict

from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_tokenbuffer import TokenBufferChatMessageHistory

warnings.filterwarnings("ignore", message=".*(MessageHistory)")  # they say they leave in 2.0

stored: dict[str, BaseChatMessageHistory] = defaultdict(InMemoryChatMessageHistory)


def get_session_history(session_id: str) -> BaseChatMessageHistory:
    """Return a new view each time, over the one history of the session."""
    return TokenBufferChatMessageHistory(stored[session_id], max_tokens=60, token_counter="o200k_base")


prompt = ChatPromptTemplate.from_messages(
    [("system", "Answer briefly."), MessagesPlaceholder("history"), ("human", "{question}")]
)
model = FakeListChatModel(responses=[f"That is answer number {n}." for n in range(1, 9)])
chain = RunnableWithMessageHistory(
    prompt | model,
    get_session_history,
    input_messages_key="question",
    history_messages_key="history",
)

for number in range(1, 9):
    chain.invoke(
        {"question": f"Could you tell me number {number}?"},
        {"configurable": {"session_id": "ann"}},
    )
    window = get_session_history("ann").messages
    print(f"stored {len(stored['ann'].messages):2}, shown {[m.content for m in window][::2]}")
