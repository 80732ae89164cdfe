"""Families of models that are neither OpenAI's nor Anthropic's, in whose formats no role is counted as text.

Where a chat template is published, its numbers are the template's. All are fitted on recorded requests, so that few
are low; a comment says of how many, and of how many the count is near: within 3 % or 2 tokens of the bill, where the
model's own vocabulary is installed.
"""

from __future__ import annotations

from dataclasses import replace

from langchain_tokenbuffer._counting.estimates import DEEPSEEK, GEMINI, LLAMA, MISTRAL, QWEN, Estimate
from langchain_tokenbuffer._counting.families import ChatFormat, Family, Own, Vocabulary
from langchain_tokenbuffer._counting.gemini_tools import as_declarations, as_python
from langchain_tokenbuffer._counting.images import Crops, Each, Media, Rows, Squares
from langchain_tokenbuffer._counting.tools import as_functions, as_json, as_typescript

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
    named=0,
    formatted=0,
    tools_text=as_json,
)

# --- Gemini ---------------------------------------------------------------------------------------
# 52 texts, 49 near. AI Studio bills a token for each message from 2.5 on, Vertex none; which is asked is not known. How
# Gemini 2.0 is shown a function is not known: as JSON most are counted high; of the others see `gemini_tools`. A
# response schema is not billed. A page is 258 tokens of 2.5 where no text is read with it, and 490 to 2,350 of 3; an
# image of 3 is 1,060 to 1,190. A call with its result takes 7 to 22 beside their texts of 2.5 (27 requests), the most
# where the result is no JSON, and 10 to 18 of 3 (3 requests). What 2.5 thought is not billed again: 4 of 25 requests
# with signatures are billed 23 to 108 more.
_GEMINI = Family(
    Vocabulary("o200k_base", GEMINI, Own("open", "gemma4")),
    replace(_PLAIN, tools_text=as_functions, response_format=None),
    media=Media(Squares()),
)
GEMINI_2 = replace(_GEMINI, chat=replace(_GEMINI.chat, tools=-20), media=Media(Crops()))
GEMINI_2_5 = replace(
    _GEMINI,
    chat=replace(_GEMINI.chat, per_message=1, call=20, tools_text=as_python),
    media=Media(Squares(), 1350, sealed=False),
)
GEMINI_3 = replace(
    _GEMINI,
    chat=replace(_GEMINI.chat, per_message=1, call=18, tools_text=as_declarations),
    media=Media(Each(1120), 2400),
)

# --- Mistral --------------------------------------------------------------------------------------
# The template of mistral-common: 20 texts, 19 near; 29 with tools, 26 near; 4 images of known size, all near. What
# is called mistral-small-latest has a prompt of its own since 2026, which tools replace in part.
MISTRAL_LARGE = Family(
    Vocabulary("o200k_base", MISTRAL, Own("mistral", "tekken_240911.json")),
    replace(_PLAIN, constant=1, per_message=2, reply=-1, call=1, tools=8, response_format=None),
    media=Media(Rows(), page=1000),
)
MISTRAL_SMALL = replace(MISTRAL_LARGE, chat=replace(MISTRAL_LARGE.chat, added=12, tools=2))

# --- DeepSeek -------------------------------------------------------------------------------------
# 17 texts, 13 near; 12 with tools, 9 near. Where a JSON object is asked for, 20 more are billed. V4 adds 79 tokens to
# what is asked of its Responses API, 7 of 14 requests; which is asked is not known, so that the others count high. An
# argument of a call is written between tags of its own: 1 request with two, 2 without any.
DEEPSEEK_V3 = Family(
    Vocabulary("o200k_base", DEEPSEEK, Own("open", "deepseek_v3")),
    replace(_PLAIN, constant=2, per_message=2, system=-2, call=37, argument=5, tools=207, json_object=20),
)
DEEPSEEK_V4 = replace(DEEPSEEK_V3, chat=replace(DEEPSEEK_V3.chat, added=79))

# --- Grok -----------------------------------------------------------------------------------------
# Its prompt and the template around it, of 4.3 and of 4.1 Fast on Azure: 10 texts, all near; 14 with tools, 11 near.
GROK_4 = Family(
    Vocabulary("o200k_base", DEEPSEEK),
    replace(_PLAIN, added=187, per_message=5, system=-5, call=8, tools=9, response_format=14),
)
GROK_4_FAST = replace(
    GROK_4, chat=replace(GROK_4.chat, added=-9, system=0, tools=127, response_format=43), media=Media(Each(260))
)

# --- Nova -----------------------------------------------------------------------------------------
# 14 texts, 11 near; 23 with tools, 20 near. Nova 1 adds less where there are more tools, so that two count high.
NOVA_2 = Family(Vocabulary("o200k_base", DEEPSEEK), replace(_PLAIN, added=46, call=40, tools=803))
NOVA_1 = replace(
    NOVA_2,
    chat=replace(NOVA_2.chat, added=0, call=26, tools=348, per_tool=-22),
    media=Media(Each(1850)),  # billed 1,826 for 540 x 360 px; of Nova 2, 3 requests, fewer than OpenAI's tiles
)

# --- Cohere ---------------------------------------------------------------------------------------
# Its vocabulary splits numbers into digits, as Mistral's. 16 texts, 8 near; 20 with tools, all near. A system message
# brings 31 tokens of its own; the reasoning model's prompt is fitted on 3 requests, that of Command R on 6.
COMMAND_A = Family(
    Vocabulary("o200k_base", MISTRAL),
    replace(_PLAIN, added=490, per_message=5, system=31, call=70, tools=877, response_format=70),
)
COMMAND_REASONING = replace(COMMAND_A, chat=replace(COMMAND_A.chat, added=1381))
COMMAND_R = replace(COMMAND_A, chat=replace(COMMAND_A.chat, added=60, tools=735))

# --- Llama ----------------------------------------------------------------------------------------
# Meta's templates; from 3.1 on they begin a system message with the date, 25 tokens. 15 texts, 12 near. How tools
# are shown is the server's choice: 85 tokens at Together, 400 at Hugging Face for 3, 650 at Groq for 4; 10 requests, 7
# near.
LLAMA_3 = Family(
    Vocabulary("cl100k_base", LLAMA, Own("open", "llama3")),
    replace(_PLAIN, constant=5, per_message=5, tools=85, response_format=95),
)
LLAMA_3_1 = replace(LLAMA_3, chat=replace(LLAMA_3.chat, added=25, system=-5))
LLAMA_4 = Family(
    Vocabulary("o200k_base", DEEPSEEK),
    replace(LLAMA_3.chat, tools=649, per_tool=-15),
    media=Media(Each(765)),
)

# --- Qwen -----------------------------------------------------------------------------------------
# ChatML, with two tokens that open the thinking of newer models: 12 texts, all near; 8 with tools, 2 near, 1 low. Its
# template leaves out what earlier turns thought: 5 requests.
QWEN_3 = Family(
    Vocabulary("cl100k_base", QWEN, Own("open", "qwen3")),
    replace(_PLAIN, constant=5, per_message=5, call=20, tools=126, forgets=True),
)

# --- gpt-oss --------------------------------------------------------------------------------------
# OpenAI's Harmony with its system message, 67 tokens with a question at Ollama and 71 at Groq: 18 texts, all near; 5
# with tools, 3 near. It leaves out what earlier turns thought: 6 requests, residual -6 to 0.
GPT_OSS = Family(
    Vocabulary("o200k_harmony", Estimate()),
    replace(
        _PLAIN,
        constant=4,
        added=61,
        per_message=4,
        system=4,
        result=6,
        call=12,
        tools=18,
        tools_text=as_typescript,
        forgets=True,
    ),
)

# --- Perplexity -----------------------------------------------------------------------------------
# Bills the texts and a token: 4 texts, all near.
SONAR = Family(Vocabulary("cl100k_base", LLAMA), replace(_PLAIN, constant=1))
