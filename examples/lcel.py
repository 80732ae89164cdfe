"""LCEL: prompt | TokenBuffer | model, and the dry run that says what would go."""

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenBuffer

counted_by = ChatOpenAI(model="gpt-4o", api_key=SecretStr("not needed for counting"))
buffer = TokenBuffer(120, token_counter=counted_by)
prompt = ChatPromptTemplate.from_messages(
    [("system", "You are a tour guide."), MessagesPlaceholder("history"), ("human", "{question}")]
)
model = FakeListChatModel(responses=["Take the tram to the old harbour."])
chain = prompt | buffer | model

history: list[BaseMessage] = []
for day in range(1, 8):
    history += [
        HumanMessage(f"What is worth seeing on day {day} of our trip?"),
        AIMessage(f"On day {day} I would see the museum, then the market and the river."),
    ]
asked = {"history": history, "question": "And in the evening?"}

window = buffer.window(prompt.invoke(asked))
print(f"kept {window.kept}\ndropped {window.dropped}")
print(f"{window.tokens} tokens of at most {buffer.max_tokens}; the tail begins at {window.cut}")
print(chain.invoke(asked).content)
