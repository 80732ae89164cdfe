"""TokenCounter: what a conversation costs, also where LangChain's own counting gives up."""

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, trim_messages
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenCounter

model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("not needed for counting"))
counter = TokenCounter(model)
print(counter.describe())

messages: list[BaseMessage] = [
    HumanMessage("What does <|endoftext|> mean?"),
    AIMessage("It marks the end of a document."),
]
try:
    model.get_num_tokens_from_messages(messages)
except ValueError as error:
    print("the model itself:", str(error).splitlines()[0])
print("counted:", counter(messages))


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


print("with a tool:", counter.count(messages, tools=[weather]))
trimmed = trim_messages(messages, max_tokens=20, token_counter=counter)
print("inside trim_messages:", [message.content for message in trimmed])
