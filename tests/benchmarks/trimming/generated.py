"""Conversations that a seeded script writes, with what makes real ones hard to trim.

Ids that repeat within a conversation, parallel calls, one question and then a long loop of tools, a
long chat, texts without spaces, and messages larger than the budget. The same at each run.
"""

from __future__ import annotations

import json
import random
from typing import Any

Record = dict[str, Any]  # {"messages": [...]} in OpenAI's format

ENGLISH = (
    "the order was about and with from order again before because customer flight window "
    "parcel return refund address please thanks Tuesday morning really think would like "
    "another colour file line function test error module value import class result change "
    "check branch version"
)
KOREAN = (
    "오늘 내일 날씨 서울 부산 예약 식당 일정 회의 알려 주세요 감사합니다 저녁 아침 메시지 "
    "친구에게 보내 음악 틀어 택시 불러 비행기 표 가격 확인 취소 변경 가능한지 궁금합니다 "
    "다음 주말 가족 여행 계획"
)
CHINESE = "今天天气很好我想和你聊一些关于旅行工作学习音乐电影的事情请问有什么建议吗谢谢朋友晚上"


def shop() -> list[Record]:
    """Write customer service: parallel calls, and ids that come again and again."""
    return [_shop(random.Random(f"shop {number}")) for number in range(6)]


def coding() -> list[Record]:
    """Write coding agents: one question, then nothing but calls and results."""
    return [_coding(random.Random(f"coding {number}")) for number in range(4)]


def korean() -> list[Record]:
    """Write an assistant in Korean whose calls all have one id."""
    rng = random.Random("korean")
    messages: list[Record] = []
    for _ in range(45):
        messages.append(_said("user", _words(rng, KOREAN, 6, 18)))
        if rng.random() < 0.6:
            called = {"query": _words(rng, KOREAN, 1, 4)}
            messages.append(_called((rng.choice(["search", "reserve"]), called, "random_id")))
            found = {"status": "ok", "text": _words(rng, KOREAN, 10, 50)}
            messages.append(_answered("random_id", found))
        messages.append(_said("assistant", _words(rng, KOREAN, 8, 30)))
    return [{"messages": messages}]


def english() -> list[Record]:
    """Write one long chat, without a system message."""
    rng = random.Random("english")
    return [{"messages": _chat(120, lambda: _words(rng, ENGLISH, 15, 90))}]


def chinese() -> list[Record]:
    """Write one chat in a script without spaces."""
    rng = random.Random("chinese")
    return [{"messages": _chat(80, lambda: _characters(rng, 20, 120))}]


def oversized() -> list[Record]:
    """Write chats in which one question, one reply or one result is larger than the budget."""
    return [
        _oversized(random.Random(f"oversized {role} {number}"), role)
        for role in ("user", "assistant", "tool")
        for number in range(3)
    ]


# --- kinds ----------------------------------------------------------------------------------------


def _shop(rng: random.Random) -> Record:
    policy = " ".join(_sentence(rng) for _ in range(60))
    messages = [_said("system", f"You serve the customers of a shop. {policy}")]
    for turn in range(rng.randint(10, 16)):
        messages.append(_said("user", _words(rng, ENGLISH, 8, 60)))
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            count = rng.choice([1, 1, 1, 2, 3])
            # gpt-4o begins again with an id it has used; inside one message they differ.
            ids = [f"call_{(turn + n) % 4}" for n in range(count)]
            calls = [("find_order", {"order": f"#W{rng.randint(1, 10**7)}"}, each) for each in ids]
            messages.append(_called(*calls))
            messages += [_answered(each, _order(rng)) for each in ids]
        messages.append(_said("assistant", _words(rng, ENGLISH, 15, 80)))
    return {"messages": messages}


def _coding(rng: random.Random) -> Record:
    rules = " ".join(_sentence(rng) for _ in range(25))
    messages = [
        _said("system", f"You repair programs. {rules}"),
        _said("user", f"Mend this: {_words(rng, ENGLISH, 80, 200)}"),
    ]
    for step in range(rng.randint(24, 32)):
        tool = rng.choice(["open_file", "edit_file", "run_tests"])
        said = _words(rng, ENGLISH, 10, 40)
        messages.append(_called((tool, {"path": f"src/{step}.py"}, f"call_{step}"), said=said))
        messages.append(_answered(f"call_{step}", _listing(rng, rng.randint(5, 60))))
    return {"messages": messages}


def _oversized(rng: random.Random, role: str) -> Record:
    large = " ".join(_sentence(rng) for _ in range(320))
    messages = [_said("system", "You answer briefly.")]
    for turn in range(12):
        is_it = turn == 5
        messages.append(_said("user", large if is_it and role == "user" else _sentence(rng)))
        if role == "tool":
            messages.append(_called(("look_up", {"page": str(turn)}, "call_1")))
            messages.append(_answered("call_1", large if is_it else _sentence(rng)))
        said = large if is_it and role == "assistant" else _words(rng, ENGLISH, 20, 120)
        messages.append(_said("assistant", said))
    return {"messages": messages}


def _chat(turns: int, write: Any) -> list[Record]:
    return [_said(role, write()) for _ in range(turns) for role in ("user", "assistant")]


# --- messages and texts ---------------------------------------------------------------------------


def _said(role: str, text: str) -> Record:
    return {"role": role, "content": text}


def _called(*calls: tuple[str, dict[str, str], str], said: str = "") -> Record:
    listed = [
        {
            "id": id_,
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for name, arguments, id_ in calls
    ]
    return {"role": "assistant", "content": said, "tool_calls": listed}


def _answered(id_: str, found: object) -> Record:
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return {"role": "tool", "tool_call_id": id_, "content": text}


def _order(rng: random.Random) -> Record:
    items = [
        {"item": rng.randint(10**9, 10**10), "name": _words(rng, ENGLISH, 2, 3), "price": 9.5}
        for _ in range(rng.randint(1, 5))
    ]
    return {"status": rng.choice(["pending", "delivered"]), "items": items}


def _listing(rng: random.Random, lines: int) -> str:
    return "\n".join(f"{n:4} {' ' * 4 * (n % 3)}{_words(rng, ENGLISH, 2, 9)}" for n in range(lines))


def _sentence(rng: random.Random) -> str:
    return _words(rng, ENGLISH, 6, 16).capitalize() + "."


def _words(rng: random.Random, known: str, least: int, most: int) -> str:
    return " ".join(rng.choices(known.split(), k=rng.randint(least, most)))


def _characters(rng: random.Random, least: int, most: int) -> str:
    return "".join(rng.choices(CHINESE, k=rng.randint(least, most))) + "。"
