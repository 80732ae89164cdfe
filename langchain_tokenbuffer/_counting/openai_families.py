"""Families of OpenAI's models: generations that count alike, in two APIs.

How many requests a number was fitted on, and of how many the count is exact, says its comment; the other requests are
within 3 % unless it says so.
"""

from __future__ import annotations

from dataclasses import replace

from langchain_tokenbuffer._counting.families import ChatFormat, Family, Vocabulary
from langchain_tokenbuffer._counting.images import Images, Media, Tiles
from langchain_tokenbuffer._counting.tools import as_commented

# Pages of PDFs: 18 requests, billed 7 to 1,034 a page by how much is on it and which API is asked.
_MEDIA = Media(page=1200)

# 31 requests with tools or a response format and no calls, 26 exact; 13 with calls, each a token or two off. Requests
# of March 2025 were billed 18 more, and 215 more with tools.
_GPT_4_RESPONSES = ChatFormat(tools=-3, merged=0, opening=0, formatted=0, parallel=False)
GPT_4 = Family(Vocabulary("cl100k_base"), responses=_GPT_4_RESPONSES, media=_MEDIA)
GPT_4O = Family(Vocabulary("o200k_base"), responses=_GPT_4_RESPONSES, media=_MEDIA)
GPT_3_5 = replace(GPT_4, chat=ChatFormat(tools_text=as_commented))
GPT_3_5_0301 = replace(GPT_4, chat=ChatFormat(per_message=4, per_name=-1))

# 20 requests with tools, 12 of them with calls, 12 exact; 2 with a response format. Parallel calls, and text beside a
# call, are messages of their own: 1 request here, 4 in the Responses API.
_CHAT = ChatFormat(call=7, tools=85, merged=0, opening=3, added=-1, parallel=False, further=7, text=7, named=0)
# 83 requests with tools, 37 of them with calls, 64 exact and 78 within 2 tokens; 13 with a response format, all exact.
_RESPONSES = replace(_CHAT, call=8, tools=3, opening=-1, formatted=0, further=10)
REASONING = replace(GPT_4O, chat=_CHAT, responses=_RESPONSES, media=replace(_MEDIA, images=Tiles(75, 150)))
# 67 texts, 64 exact, 9 of them with replies.
_GPT_5_RESPONSES = replace(_RESPONSES, reply=2)
GPT_5 = replace(REASONING, chat=replace(_CHAT, reply=2), responses=_GPT_5_RESPONSES)
# OpenRouter asks the Responses API for them: 1 request with tools, exact.
GPT_5_AT_OPENROUTER = replace(GPT_5, chat=_GPT_5_RESPONSES)


def seeing(family: Family, images: Images) -> Family:
    """Return the family with another formula for images."""
    return replace(family, media=replace(family.media, images=images))
