"""Families of OpenAI's models: generations that count alike, in two APIs.

How many requests a number was fitted on, and of how many the count is exact, says its comment; the other requests are
within 3 % unless it says so.
"""

from __future__ import annotations

from dataclasses import replace

from langchain_tokenbuffer._counting.families import ChatFormat, Family, Vocabulary
from langchain_tokenbuffer._counting.images import Images, Media, Patches, Tiles
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
# What earlier turns thought is discarded (OpenAI cookbook, "Better performance from reasoning models").
_RESPONSES = replace(_CHAT, call=8, tools=3, opening=-1, formatted=0, further=10, forgets=True)
REASONING = replace(GPT_4O, chat=_CHAT, responses=_RESPONSES, media=replace(_MEDIA, images=Tiles(75, 150)))
O1_MINI = replace(REASONING, chat=replace(_CHAT, per_message=7))  # 1 request, residual 0
# 67 texts, 64 exact, 9 of them with replies. What earlier turns thought is not billed again: 10 requests of gpt-5-mini
# and -nano, residual -6 to 4. Of gpt-5.6 it is (1 request); of those between, it is not known.
_GPT_5 = replace(REASONING, chat=replace(_CHAT, reply=2), responses=replace(_RESPONSES, reply=2))
_GPT_5_1 = replace(_GPT_5, responses=replace(_RESPONSES, reply=2, forgets=False))


def seeing(family: Family, images: Images) -> Family:
    """Return the family with another formula for images."""
    return replace(family, media=replace(family.media, images=images))


# Factors are those of bills: 1.2 of gpt-5-mini (6 requests) and gpt-5.5 (2), residual at most 4, and 1.5 of nano. Where
# there are none, 1.2 is what users were billed from 5.2 on (OpenAI's forum, March 2026), where 1.62 and 2.46 are
# published of the small ones; there gpt-5.4-mini sees 2,500 patches, too. The limits are published.
GENERATIONS: tuple[tuple[str, Family], ...] = (
    (r"gpt-5-(?:mini|codex)", seeing(_GPT_5, Patches(1.2))),
    (r"gpt-5-nano", seeing(_GPT_5, Patches(1.5))),
    (r"gpt-5\.[0-3](?!\d)", seeing(_GPT_5_1, Patches(1.2))),
    (r"gpt-5\.4(?!\d)", seeing(_GPT_5_1, Patches(1.2, 2500, original=10_000))),
    (r"gpt-5\.5(?!\d)", seeing(_GPT_5_1, Patches(1.2, 10_000, high=2500))),
    (r"gpt-(?:5\.|[6-9])", seeing(_GPT_5_1, Patches(1.2, 30_000, high=2500))),  # larger images are refused
    (r"gpt-5", seeing(_GPT_5, Tiles(70, 140))),
)
"""From gpt-5 on, by a pattern of the models' names; the first that matches counts."""


def at_openrouter(family: Family) -> Family:
    """Return the family where OpenRouter asks the Responses API for it. 1 request with tools, exact."""
    return replace(family, chat=family.responses or family.chat)
