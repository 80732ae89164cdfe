"""Families of Claude: generations that count alike, wherever they are served."""

from __future__ import annotations

from dataclasses import replace

from langchain_tokenbuffer._counting import estimates
from langchain_tokenbuffer._counting.families import ChatFormat, Family, Own, Vocabulary
from langchain_tokenbuffer._counting.images import Grid, Media
from langchain_tokenbuffer._counting.tools import as_format_tool, as_indented, as_json

# With `ctok`, which also says what is put around a message: 82 texts that do not think, 79 of them within 2 tokens;
# 3 for each further message. 88 requests with tools, 65 of them with calls, 84 within 3 %. 19 with a response format,
# within 5 tokens. Thinking that is enabled brings 28 or 29 (16 requests), adaptive thinking nothing (5). A task
# budget brings 35, a conversation that begins with a reply 12 (a request each, residual 0 with `ctok`). A tool that
# must be called, by name or any, brings 91 to 99 (11). A document of text brings 36 to 53 (3 requests); what is to be
# cited about 530, which is not measured here.
_CHAT = ChatFormat(
    constant=4,
    per_message=3,
    role=False,
    system=-3,
    per_name=0,
    result=21,
    call=14,
    twice=False,
    argument=12,
    parallel=False,
    further=20,
    document=45,
    cited=530,
    prefill=-3,
    thinking=29,
    thought=15,
    task_budget=35,
    opening_reply=12,
    tools=491,
    merged=0,
    choice=94,
    named=0,
    tools_text=as_json,
    format_text=as_indented,
    response_format=81,
    opening=0,
    formatted=0,
)
# Images of 9 sizes, residual at most 1. A PDF's page takes 1,596 to 2,677 (8 requests): its text and its image.
_MEDIA = Media(Grid(1568, 1600))


def _family(edition: str, chat: ChatFormat, media: Media = _MEDIA) -> Family:
    estimate = estimates.CLAUDE if edition == "3.0" else estimates.CLAUDE_4_7  # without `ctok`
    return Family(Vocabulary("o200k_base", estimate, Own("claude", edition)), chat, media=media)


# Thinking that is sent again takes 8 beside its text (2 requests, residual 0), and is billed in its own turn alone (6
# requests, residual at most 1). Opus 4.5 and what came with or after 4.6 keep it (Anthropic, "Extended thinking"), and
# think as they see fit: 15 (1 request, residual 0).
_FORGETS = replace(_CHAT, thought=8, forgets=True)


def _with_tools(tools: int) -> Family:
    """Return the family of an earlier generation, whose prompt for tools takes so many tokens."""
    return _family("3.0", replace(_FORGETS, tools=tools))


CLAUDE = _family("3.0", _CHAT)  # 4.6, Opus 4.5
CLAUDE_4_5 = _family("3.0", _FORGETS)
CLAUDE_2 = _family("3.0", replace(_CHAT, per_message=4))  # "Human:" and "Assistant:" in plain text: 1 request
CLAUDE_3_OPUS = _with_tools(530)  # 2 requests with tools
CLAUDE_3_SONNET = _with_tools(154)  # 3
CLAUDE_HAIKU_3 = _with_tools(258)  # also 3.5: 3
CLAUDE_3_5 = _with_tools(286)  # 5
# from 3.7 to 4.1: 5 requests; that a tool must be called brings 2 and 6 (2 response formats at Databricks)
CLAUDE_4 = _family("3.0", replace(_FORGETS, tools=308, choice=6))

# Images are seen larger since Opus 4.7 (Anthropic, "Vision"), pages therefore too, which rounds up.
_SEES_MORE = Media(Grid(2576, 4784), page=6000)
CLAUDE_4_7 = _family("4.7", replace(_CHAT, constant=8), _SEES_MORE)  # around a message: `ctok`; the rest as before
CLAUDE_5 = _family("4.8", replace(_CHAT, constant=3, tools=330), _SEES_MORE)  # 4 texts, 3 requests with tools

GENERATIONS: tuple[tuple[str, Family], ...] = (
    (r"opus-4[.-][89]|(?:opus|sonnet|haiku|fable|mythos)-(?:[5-9]|\d\d)(?!\d)", CLAUDE_5),
    (r"opus-4[.-]7", CLAUDE_4_7),
    (r"claude-(?:v?[12](?!\d)|instant)", CLAUDE_2),
    (r"3-opus", CLAUDE_3_OPUS),
    (r"3-sonnet", CLAUDE_3_SONNET),
    (r"3[.-]5-haiku|3-haiku", CLAUDE_HAIKU_3),
    (r"3[.-]5", CLAUDE_3_5),
    (r"3[.-]7|(?:opus|sonnet)-4(?![.-][4-9](?!\d))", CLAUDE_4),
    (r"(?:sonnet|haiku)-4[.-]5", CLAUDE_4_5),
    ("", CLAUDE),
)
"""By a pattern of their models' names; the first that matches counts."""


def behind_openais_api(family: Family) -> Family:
    """Return the family where it is asked through OpenAI's API, as at Snowflake and Databricks.

    A response format is a tool there, which must be called. 3 requests, residual at most 4.
    """
    chat = family.chat
    return replace(
        family, chat=replace(chat, format_text=as_format_tool, opening=chat.tools, response_format=chat.choice)
    )
