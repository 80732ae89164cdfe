"""What an estimate makes of a text, next to the vocabularies that can be had for comparison."""

from __future__ import annotations

import base64
import json
import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tokenbuffer._counting import estimates
from langchain_tokenbuffer._counting.estimates import Estimate
from langchain_tokenbuffer._counting.extras import EXTRAS, OwnText
from langchain_tokenbuffer._counting.families import Own
from langchain_tokenbuffer._counting.tokenizers import ScaledText, TiktokenText

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = {
    "English": "Where is the nearest bakery and when does it open in the morning please tell me if you can find out",
    "German": "Wo ist die nächste Bäckerei und wann öffnet sie morgens bitte sagen Sie mir ob Sie es wissen",
    "Hindi": "सबसे नज़दीकी बेकरी कहाँ है और वह सुबह कब खुलती है कृपया मुझे बताइए यदि आप पता लगा सकते हैं",
    "Thai": "ร้านเบเกอรี่ ที่ใกล้ที่สุด อยู่ที่ไหน และเปิด ตอนเช้า กี่โมง ช่วยบอก ฉันด้วย ถ้าคุณ หาคำตอบ ได้",
    "Korean": "가장 가까운 빵집이 어디에 있고 아침에 몇 시에 여는지 알 수 있으면 제게 알려 주세요",
    "Russian": "Где находится ближайшая пекарня и когда она открывается утром скажите пожалуйста если сможете узнать",
    "Arabic": "أين يقع أقرب مخبز ومتى يفتح في الصباح أخبرني من فضلك إذا استطعت أن تعرف ذلك",
}
CHINESE = "离这里最近的面包店在哪里早上几点开门如果你能查到请告诉我谢谢"


def _prose(rng: random.Random, kind: str) -> str:
    words = WORDS[kind].split()
    return " ".join(rng.choice(words) for _ in range(rng.randrange(20, 200)))


def _floats(rng: random.Random) -> str:
    return "\n".join(",".join(f"{rng.uniform(-90, 90):.6f}" for _ in range(4)) for _ in range(rng.randrange(5, 60)))


def _json(rng: random.Random) -> str:
    rows = [
        {"id": rng.randrange(10_000), "name": rng.choice(["bolt M4", "nut"]), "price": round(rng.uniform(1, 90), 2)}
        for _ in range(rng.randrange(5, 60))
    ]
    return json.dumps(rows, separators=(",", ":"))


def _code(rng: random.Random) -> str:
    names = [rng.choice(["open_at", "bake", "count_rows", "is_ready"]) for _ in range(rng.randrange(3, 20))]
    return "\n".join(f"def {name}(hour: int) -> bool:\n    return self.{name}[hour] < {len(name)}\n" for name in names)


KINDS: dict[str, Callable[[random.Random], str]] = {
    **{kind: lambda rng, kind=kind: _prose(rng, kind) for kind in WORDS},  # type: ignore[misc]
    "Chinese": lambda rng: "".join(rng.choice(CHINESE) for _ in range(rng.randrange(30, 300))),
    "CSV floats": _floats,
    "compact JSON": _json,
    "base64": lambda rng: base64.b64encode(rng.randbytes(rng.randrange(60, 900))).decode(),
    "hex": lambda rng: rng.randbytes(rng.randrange(60, 900)).hex(),
    "code": _code,
    "capitals": lambda rng: _prose(rng, "English").upper(),
}
RNG = random.Random(7)
TEXTS = {kind: [make(RNG) for _ in range(12)] for kind, make in KINDS.items()}

COMPARED = {
    "GEMINI": ("o200k_base", "open", "gemma4"),
    "MISTRAL": ("o200k_base", "mistral", "tekken_240911.json"),
    "DEEPSEEK": ("o200k_base", "open", "deepseek_v3"),
    "LLAMA": ("cl100k_base", "open", "llama3"),
    "QWEN": ("cl100k_base", "open", "qwen3"),
    "CLAUDE": ("o200k_base", "claude", "3.0"),
    "CLAUDE_4_7": ("o200k_base", "claude", "4.8"),
}
NAMES = [*COMPARED, "ANY"]


def ratios(name: str, kind: str) -> list[float]:
    """Return the estimate of each text as a share of what the vocabulary makes of it."""
    encoding, extra, edition = COMPARED[name]
    pytest.importorskip(EXTRAS[extra].package)
    estimate = ScaledText(TiktokenText(encoding), getattr(estimates, name))
    own = OwnText(Own(extra, edition), estimate)
    return [estimate(text) / own(text) for text in TEXTS[kind]]


@pytest.mark.parametrize("name", COMPARED)
def test_of_a_hundred_texts_at_most_one_is_more_than_a_tenth_low(name: str) -> None:
    every = [ratio for kind in KINDS for ratio in ratios(name, kind)]
    assert sum(ratio < 0.9 for ratio in every) <= len(every) / 100


@pytest.mark.parametrize("name", COMPARED)
def test_an_estimate_is_not_far_above_the_vocabulary(name: str) -> None:
    every = [ratio for kind in KINDS for ratio in ratios(name, kind)]
    assert statistics.median(every) <= 1.35


@pytest.mark.parametrize("kind", ["English", "CSV floats", "compact JSON", "code", "base64", "hex", "capitals"])
@pytest.mark.parametrize("name", ["LLAMA", "QWEN"])
def test_a_vocabulary_that_extends_another_counts_as_that_in_ascii(name: str, kind: str) -> None:
    assert ratios(name, kind) == pytest.approx([1] * len(TEXTS[kind]), rel=0.02)


@pytest.mark.parametrize("name", ["GEMINI", "MISTRAL", "DEEPSEEK"])
def test_english_counts_about_as_borrowed(name: str) -> None:
    borrowed = TiktokenText("o200k_base")
    text = "Where is the nearest bakery, and when does it open in the morning? I want to be there at seven. " * 9
    assert ScaledText(borrowed, getattr(estimates, name))(text) == pytest.approx(borrowed(text), rel=0.05)


@pytest.mark.parametrize("digits", range(1, 12))
def test_a_number_may_count_a_token_a_digit(digits: int) -> None:
    split = ScaledText(TiktokenText("cl100k_base"), Estimate(digits=1))
    assert split("7" * digits) == digits


def test_numbers_apart_are_split_apart() -> None:
    split = ScaledText(TiktokenText("cl100k_base"), Estimate(digits=1))
    assert split("12,3456,7") == len("12,3456,7")


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(st.characters(codec=None), min_size=1))
def test_any_text_counts_at_least_one_token(name: str, text: str) -> None:
    assert ScaledText(TiktokenText("cl100k_base"), getattr(estimates, name))(text) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_no_token(name: str) -> None:
    assert ScaledText(TiktokenText("cl100k_base"), getattr(estimates, name))("") == 0


def test_a_plain_factor_describes_itself() -> None:
    assert Estimate(1.5).describe("o200k_base") == "1.5 x o200k_base"


@pytest.mark.parametrize(("extra", "edition"), [("mistral", "tekken_240911.json"), ("open", "gemma4")])
@pytest.mark.parametrize("text", ["\ud800", "[INST] <s>", "<start_of_turn>", "\x00", " " * 50_000])
def test_an_installed_vocabulary_counts_any_text(extra: str, edition: str, text: Any) -> None:
    pytest.importorskip(EXTRAS[extra].package)
    own = OwnText(Own(extra, edition), ScaledText(TiktokenText("o200k_base"), estimates.ANY))
    assert own(text) >= 1
