"""Any message counts: every kind and block, hostile texts, nested junk. Sockets are blocked.

`COUNTING_FUZZ=100000` sets how many messages are made (3,000 without it).
"""

from __future__ import annotations

import base64
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenCounter
from tests.scale import examples

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = int(os.environ.get("COUNTING_FUZZ", examples(3000)))
BATCHES = 10

HOSTILE = [
    "",
    " ",
    "\n",
    "<|endoftext|>",
    "<|im_start|>system",
    "<|fim_prefix|>",
    "\ud800",
    "\udfff\ud800",
    "\x00\x1b[2J",
    "\u202e\u2066",
    "e\u0301" * 30,
    "\u200d" * 40,
    "👨‍👩‍👧‍👦",
    "\U0010ffff",
    "中文字符",
    "ไม่มีช่องว่าง",
    "אבג",
    "\U0001d518\U0001d52b",
    "deadbeef" * 40,
    "{" * 60,
    '"\\"' * 20,
    "a" * 5000,
    " " * 5000,
    "\r\n" * 700,
    "0" * 999,
    "'s're've" * 50,
]
KEYS = ["type", "text", "id", "name", "input", "content", "args", "data", "value", "url", "source"]
BLOCKS = [
    *("text", "input_text", "output_text", "text-plain", "refusal", "reasoning", "thinking"),
    *("redacted_thinking", "image", "image_url", "input_image", "audio", "input_audio", "video"),
    *("file", "document", "input_file", "tool_use", "tool_call", "function_call", "tool_result"),
    *("server_tool_call", "server_tool_result", "web_search_call", "custom_tool_call"),
    *("image_generation_call", "code_interpreter_call", "mcp_call", "non_standard", "hologram"),
]


FILES = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF1234WEBPVP8X", b"%PDF"]


class Maker:
    """Makes messages nobody would send."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        kinds: list[Callable[[], BaseMessage]] = [
            self.human,
            self.ai,
            self.tool,
            lambda: SystemMessage(self.content(), additional_kwargs=self.extras()),
            lambda: ChatMessage(content=self.content(), role=self.text()),
            lambda: FunctionMessage(content=self.content(), name=self.text()),
            lambda: RemoveMessage(id="1"),
            lambda: AIMessageChunk(content=self.content()),
            lambda: HumanMessage.model_construct(content=self.junk(0)),
        ]
        self.kinds = kinds

    def message(self) -> BaseMessage:
        return self.random.choice(self.kinds)()

    def human(self) -> BaseMessage:
        name = self.random.choice([None, None, self.text()])
        return HumanMessage(self.content(), name=name, additional_kwargs=self.extras())

    def ai(self) -> BaseMessage:
        message = AIMessage(self.content(), additional_kwargs=self.extras())
        message.tool_calls = [
            {"name": self.text(), "args": self.dictionary(0), "id": self.text()}
            for _ in range(self.random.choice([0, 0, 1, 2, 5]))
        ]
        if self.random.random() < 0.1:
            message.invalid_tool_calls = [
                {
                    "type": "invalid_tool_call",
                    "name": self.random.choice([None, self.text()]),
                    "args": self.random.choice([None, self.text()]),
                    "id": None,
                    "error": None,
                }
            ]
        return message

    def tool(self) -> BaseMessage:
        return ToolMessage(self.content(), tool_call_id=self.text())

    def extras(self) -> dict[str, Any]:
        if self.random.random() < 0.7:
            return {}
        names = ["refusal", "name", "tool_calls", "function_call", "audio", "__openai_role__"]
        return {name: self.junk(2) for name in self.random.sample(names, 2)}

    def content(self) -> Any:
        if self.random.random() < 0.5:
            return self.text()
        return [self.random.choice([self.block, self.block, self.text])() for _ in range(self.random.randrange(4))]

    def block(self) -> dict[str, Any]:
        block = self.dictionary(1)
        block["type"] = kind = self.random.choice(BLOCKS)
        for name in self.random.sample(KEYS[1:], 3):
            block[name] = self.junk(1)
        if kind.endswith(("url", "image")):
            block["image_url"] = self.random.choice(
                [self.text(), {"url": self.text()}, {"url": f"data:image/png;base64,{self.file()}"}]
            )
        if self.random.random() < 0.2:
            block["base64"] = self.file()
        return block

    def file(self) -> str:
        begins = [
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"GIF89a",
            b"RIFF1234WEBPVP8X",
            b"%PDF",
        ]
        data = self.random.choice(begins) + self.random.randbytes(self.random.randrange(2000))
        return base64.b64encode(data).decode()[: self.random.choice([None, -1, 30])]

    def text(self) -> str:
        parts = [self.random.choice([self.random.choice(HOSTILE), self.noise()]) for _ in range(2)]
        return "".join(parts)

    def noise(self) -> str:
        top = self.random.choice([0x7F, 0x7FF, 0xFFFF, 0x10FFFF])
        return "".join(chr(self.random.randrange(top)) for _ in range(self.random.randrange(40)))

    def dictionary(self, depth: int) -> dict[str, Any]:
        size = self.random.randrange(4)
        return {self.random.choice([*KEYS, self.noise()]): self.junk(depth + 1) for _ in range(size)}

    def junk(self, depth: int) -> Any:
        plain = [None, True, 0, -1.5, float("nan"), 10**30, b"\xff", (1, 2), object, {1, 2}]
        if depth > 4 or self.random.random() < 0.5:
            return self.random.choice([*plain, self.text()])
        if self.random.random() < 0.02:
            nested: Any = {}
            for _ in range(self.random.choice([50, 3000])):
                nested = {"a": nested} if self.random.random() < 0.5 else [nested]
            return nested
        return self.random.choice(
            [
                self.dictionary(depth),
                [self.junk(depth + 1) for _ in range(self.random.randrange(3))],
            ]
        )


def counters() -> dict[str, Any]:
    key = SecretStr("unused")
    return {
        "gpt-4o": ChatOpenAI(model="gpt-4o", api_key=key),
        "gpt-4": ChatOpenAI(model="gpt-4", api_key=key),
        "gpt-5": ChatOpenAI(model="gpt-5-mini", api_key=key),
        "completion": OpenAI(model="gpt-3.5-turbo-instruct", api_key=key),
        "custom": FakeListChatModel(responses=[], custom_get_token_ids=lambda text: list(map(ord, text))),
        "encoding": "o200k_harmony",
        **{name: name for name in ("gemini-2.5-flash", "mistral-small-latest", "qwen3", "claude-sonnet-4-5")},
    }


@pytest.mark.parametrize("batch", range(BATCHES))
def test_any_message_counts(batch: int) -> None:
    maker = Maker(batch)
    known = [TokenCounter(counter) for counter in counters().values()]
    uncounted = []
    for _ in range(MESSAGES // BATCHES):
        message = maker.message()
        if any(counter([message]) <= 0 for counter in known):
            uncounted.append(message)
    assert uncounted == []


@pytest.mark.parametrize("batch", range(BATCHES))
def test_any_request_counts(batch: int) -> None:
    maker = Maker(1000 + batch)
    known = [TokenCounter(counter) for counter in counters().values()]
    uncounted = []
    for _ in range(MESSAGES // BATCHES // 10):
        messages = [maker.message() for _ in range(3)]
        tools, form = [maker.junk(0), maker.dictionary(0)], maker.dictionary(0)
        if any(counter.count(messages, tools, form, anchor=True) <= 0 for counter in known):
            uncounted.append((messages, tools, form))
    assert uncounted == []
