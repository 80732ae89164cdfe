"""memory=: a chat kept within 60 tokens. Replies are scripted; LIVE=1 asks the real model."""

import os
import warnings

from langchain_classic.chains import ConversationChain
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import BaseMessage
from langchain_openai import OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import ConversationTokenBufferMemory

warnings.filterwarnings("ignore", message=".*ConversationChain")  # it says it leaves in 2.0

QUESTIONS = [
    "Hi, what's up?",
    "Just working on writing some documentation!",
    "For LangChain! Have you heard of it?",
    "Haha nope, although a lot of people confuse it for that",
]
REPLIES = [
    " Hi there! I'm doing great, just enjoying the day. How about you?",
    " Sounds like a productive day! What kind of documentation are you writing?",
    (
        " Yes, I have heard of LangChain! It is a decentralized language-learning platform that"
        " connects native speakers and learners in real time. Is that the documentation you're"
        " writing about?"
    ),
    " Oh, I see. Is there another language learning platform you're referring to?",
]

live = os.environ.get("LIVE") == "1"
key = SecretStr(os.environ["OPENAI_API_KEY"] if live else "not needed for counting")
llm = OpenAI(model="gpt-3.5-turbo-instruct", api_key=key)
count = llm.get_num_tokens_from_messages
flushed: list[BaseMessage] = []
memory = ConversationTokenBufferMemory(llm=llm, max_token_limit=60, on_evict=flushed.extend)
chain = ConversationChain(llm=llm if live else FakeListLLM(responses=REPLIES), memory=memory)

for number, question in enumerate(QUESTIONS, 1):
    flushed.clear()
    history = memory.buffer_as_messages
    answer = chain.invoke({"input": question})
    print(f"Turn {number}: the model saw {count(history)} tokens of history")
    print(answer["history"] or "(nothing)")
    print(f"> {question}\n>{answer['response']}")
    print(f"The buffer now holds {count(memory.buffer_as_messages)} of 60 tokens.")
    print(f"Flushed: {[message.content for message in flushed] or 'nothing'}\n")
