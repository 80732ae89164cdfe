"""Families of models that are neither OpenAI's nor Anthropic's.

Each number is fitted on one half of 1,425 recorded requests and compared with the other; where its template is
published, it is what the template puts there. No role is counted as text, and a call says its tool's name once.
"""

from __future__ import annotations

from dataclasses import replace

from langchain_tokenbuffer._counting.estimates import DEEPSEEK, GEMINI, LLAMA, MISTRAL, QWEN
from langchain_tokenbuffer._counting.families import ChatFormat, Family, Own, Vocabulary
from langchain_tokenbuffer._counting.images import Media, Squares
from langchain_tokenbuffer._counting.tools import as_declarations, as_json, as_typescript

_PLAIN = ChatFormat(
    constant=0,
    per_message=0,
    role=False,
    per_name=0,
    result=0,
    call=0,
    parallel=False,
    twice=False,
    tools=0,
    merged=0,
    opening=0,
    tools_text=as_json,
)

_GEMINI_TEXTS = Vocabulary("o200k_base", GEMINI, Own("open", "gemma4"))
_GEMINI_CHAT = replace(_PLAIN, tools_text=as_declarations, response_format=None)
GEMINI_2 = Family(_GEMINI_TEXTS, replace(_GEMINI_CHAT, tools=-20), media=Media(Squares()))
GEMINI_2_5 = replace(GEMINI_2, chat=replace(_GEMINI_CHAT, per_message=1, per_tool=4))
GEMINI_3 = replace(GEMINI_2, chat=replace(_GEMINI_CHAT, per_message=1, tools=1))

_MISTRAL_TEXTS = Vocabulary("o200k_base", MISTRAL, Own("mistral", "tekken_240911.json"))
_MISTRAL_CHAT = replace(_PLAIN, constant=1, per_message=2, system=0, reply=-1, call=1, tools=9, response_format=None)
MISTRAL_LARGE = Family(_MISTRAL_TEXTS, _MISTRAL_CHAT)
MISTRAL_SMALL = replace(MISTRAL_LARGE, chat=replace(_MISTRAL_CHAT, added=12, tools=4))

_DEEPSEEK_TEXTS = Vocabulary("o200k_base", DEEPSEEK, Own("open", "deepseek_v3"))
_DEEPSEEK_CHAT = replace(_PLAIN, constant=2, per_message=2, system=-2, call=34, tools=207)
DEEPSEEK_V3 = Family(_DEEPSEEK_TEXTS, _DEEPSEEK_CHAT)
DEEPSEEK_V4 = replace(DEEPSEEK_V3, chat=replace(_DEEPSEEK_CHAT, added=79))

_LLAMA_TEXTS = Vocabulary("cl100k_base", LLAMA, Own("open", "llama3"))
_LLAMA_CHAT = replace(_PLAIN, constant=5, per_message=5, tools=85, response_format=95)
LLAMA_3 = Family(_LLAMA_TEXTS, _LLAMA_CHAT)
LLAMA_3_1 = replace(LLAMA_3, chat=replace(_LLAMA_CHAT, constant=30, system=-5))
LLAMA_4 = Family(Vocabulary("o200k_base", DEEPSEEK), replace(_LLAMA_CHAT, tools=649, per_tool=-15))

QWEN_3 = Family(
    Vocabulary("cl100k_base", QWEN, Own("open", "qwen3")), replace(_PLAIN, constant=5, per_message=5, call=20, tools=126)
)

GPT_OSS = Family(
    Vocabulary("o200k_harmony"),
    replace(_PLAIN, constant=65, per_message=4, system=4, result=6, call=12, tools=18, tools_text=as_typescript),
)

GROK_4 = Family(Vocabulary("o200k_base", DEEPSEEK), replace(_PLAIN, added=187, per_message=5, system=-5, call=8, tools=5, response_format=12))
GROK_4_FAST = replace(GROK_4, chat=replace(GROK_4.chat, added=-9, system=0, tools=124, response_format=38))

NOVA_2 = Family(Vocabulary("o200k_base", DEEPSEEK), replace(_PLAIN, added=46, call=40, tools=800))
NOVA_1 = replace(NOVA_2, chat=replace(NOVA_2.chat, added=0, tools=345, per_tool=-22, call=26))

_COHERE_TEXTS = Vocabulary("o200k_base", MISTRAL)
COMMAND_A = Family(_COHERE_TEXTS, replace(_PLAIN, added=490, per_message=5, system=31, call=70, tools=877))
COMMAND_REASONING = replace(COMMAND_A, chat=replace(COMMAND_A.chat, added=1381))
COMMAND_R = replace(COMMAND_A, chat=replace(COMMAND_A.chat, added=66, tools=740))

SONAR = Family(_LLAMA_TEXTS, replace(_PLAIN, constant=1))
