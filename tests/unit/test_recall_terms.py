"""Terms: what texts are compared by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tokenbuffer._recall import terms
from langchain_tokenbuffer._recall.terms import term_hash, terms_of
from tests.builders import run_script


@pytest.fixture
def no_snowball(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "STEMMER", "simple")
    terms._term.cache_clear()
    monkeypatch.setattr(terms, "_term", terms._term.__wrapped__)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What was the code of the locker?", ["code", "locker"]),
        ("Lockers, LOCKERS", ["locker", "locker"]),
        ("I'm Michael's friend", ["michael", "friend"]),
        ("order W-1234, card_77", ["order", "w", "1234", "card", "77"]),
        ("Café naïve", ["cafe", "naiv"]),
        ("ｆｕｌｌ　ｗｉｄｔｈ", ["full", "width"]),
        ("사물함 번호가 뭐였죠?", ["사물", "물함", "번호"]),
        ("사물함은 역에서", ["사물", "물함", "역"]),
        ("车站的储物柜密码是什么", ["车站", "储物", "物柜", "柜密", "密码"]),
        ("東京タワーへ行きました", ["東京", "京タ", "タワ", "ワー", "行", "きま"]),
        ("GPT를 어제 썼다", ["gpt", "어제", "썼다"]),
        ("книги книгу", ["книг", "книг"]),
        ("Lost, she wrote to the children", ["lose", "write", "child"]),
        ("She knew, I'm gone", []),
        ("an e-mail to de-stress", ["mail", "de", "stress", "email", "destress"]),
        ("O-K", ["k"]),
        ("", []),
    ],
)
def test_the_terms_of_a_text_are(text: str, found: list[str]) -> None:
    pytest.importorskip("snowballstemmer")
    assert terms_of(text) == found


@pytest.mark.parametrize(
    "words",
    ["run runs running", "class classes", "city cities", "bake baked baking", "stop stopped", "quick quickly"],
)
@pytest.mark.usefixtures("no_snowball")
def test_the_simple_rule_finds_one_stem_of(words: str) -> None:
    assert len(set(terms_of(words))) == 1


@pytest.mark.parametrize("words", ["class clash", "bus bull", "red read"])
@pytest.mark.usefixtures("no_snowball")
def test_the_simple_rule_keeps_apart(words: str) -> None:
    assert len(set(terms_of(words))) == 2


def test_without_snowball_the_simple_rule_makes_the_stems() -> None:
    code = """
import sys
sys.modules["snowballstemmer"] = None
from importlib import util
found = util.find_spec
util.find_spec = lambda name, *rest: None if name == "snowballstemmer" else found(name, *rest)
from langchain_tokenbuffer._recall import terms
print(terms.STEMMER, terms.terms_of("Running lockers"))
"""
    assert run_script(code) == "simple ['run', 'lock']\n"


@given(st.text())
def test_terms_are_of_no_more_letters_than_are_compared(text: str) -> None:
    assert all(0 < len(term) <= terms._LONGEST for term in terms_of(text))


@given(st.text())
def test_a_term_has_a_number_of_64_bits(text: str) -> None:
    assert -(2**63) <= term_hash(text) < 2**63


def test_a_terms_number_is_the_same_in_every_process() -> None:
    code = "from langchain_tokenbuffer._recall.terms import term_hash; print(term_hash('locker'))"
    assert run_script(code) == f"{term_hash('locker')}\n" == "-4506349474798946178\n"
