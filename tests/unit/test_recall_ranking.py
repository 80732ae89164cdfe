"""Ranking: which passages match a question, whoever has the postings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer._recall.passages import LONGEST, passages_of
from langchain_tokenbuffer._recall.postings import PostingLists
from langchain_tokenbuffer._recall.questions import question_terms
from langchain_tokenbuffer._recall.ranking import (
    MOST_CANDIDATES,
    MOST_POSTINGS,
    MOST_TERMS,
    Posting,
    Ranked,
    asked_terms,
    rank,
)
from langchain_tokenbuffer._recall.recalling import Match, chosen, quoted
from langchain_tokenbuffer._recall.terms import term_hash, terms_of
from tests.scale import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ["anchor", "banjo", "cello", "drum", "easel", "flute", "guitar", "harp"]


def lists(messages: Sequence[BaseMessage], order: Sequence[int] | None = None) -> PostingLists:
    found = PostingLists()
    for place in order or range(len(messages)):
        found.add(place, messages[place])
    return found


def ranked(question: str, messages: Sequence[BaseMessage]) -> list[Ranked]:
    found = rank(question_terms([], question), len(messages), lists(messages))
    return [each for each in found if each.passage < len(passages_of(messages[each.message]))]


def chat(*texts: str) -> list[BaseMessage]:
    kinds = (HumanMessage, AIMessage)
    return [kinds[place % 2](text) for place, text in enumerate(texts)]


texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=12)


def test_a_passage_with_the_questions_terms_is_first() -> None:
    found = ranked("Which code has the locker?", chat("Hello.", "Hi.", "The locker has code 12.", "Fine.", "The code."))
    assert found[0].message == 2


@pytest.mark.parametrize("letter", ["\U0001f201", "\ufdfa", "\u2106", "\u0e33"])
def test_letters_that_spell_several_are_found_where_they_stand(letter: str) -> None:
    found = ranked(letter * 3, chat("Hello.", letter * LONGEST, "Hi."))
    assert [each[:2] for each in found] == [(1, 0)]


def test_a_rare_term_says_more_than_a_common_one() -> None:
    messages = chat("banjo flute", *["banjo guitar"] * 9, "banjo harp")
    assert ranked("banjo flute", messages)[0].message == 0


def test_of_equal_passages_the_newest_is_first() -> None:
    messages = chat("banjo", "x", "y", "z", "banjo", "x")
    assert [each.message for each in ranked("banjo", messages)] == [4, 0]


def test_what_stands_beside_a_match_is_before_what_does_not() -> None:
    messages = chat("anchor", "drum", "x", "y", "z", "drum", "x")
    assert [each.message for each in ranked("anchor drum", messages)][:2] == [0, 1]


SENTENCE = f"{'word ' * (LONGEST // 5 - 2)}end. "


def test_what_stands_beside_a_match_in_its_message_is_found_behind_it() -> None:
    found = ranked("banjo", chat("x", f"{SENTENCE}{SENTENCE}Banjo! {SENTENCE}{SENTENCE}", "y"))
    assert [each.passage for each in found] == [2, 1, 3]


def test_what_covers_little_of_the_question_is_not_shown() -> None:
    messages = chat("banjo", *["guitar harp"] * 40)
    question = f"guitar {' '.join(WORDS[:7])}"
    assert [each.message for each in ranked(question, messages)] == [0]


def test_a_question_of_stop_words_finds_nothing() -> None:
    assert ranked("What was that?", chat("What was that?", "It was that.")) == []


def test_terms_with_digits_and_long_ones_are_asked_for() -> None:
    many = [f"{'abcdefghijklmnopqrst'[n]}" * (n + 1) for n in range(20)]
    assert asked_terms([*many, "a1"]) == ["a1", *reversed(many[5:])]


class Watched(PostingLists):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.read = self.looked_up = 0
        self.asked: list[tuple[list[int], list[tuple[int, int]]]] = []  # terms and passages that were looked up

    def newest(self, terms: Sequence[int], limit: int) -> list[Posting]:
        found = super().newest(terms, limit)
        self.read += len(found)
        return found

    def look_up(self, terms: Sequence[int], passages: Sequence[tuple[int, int]]) -> list[Posting]:
        self.looked_up += len(terms) * len(passages)
        self.asked.append(([*terms], [*passages]))
        return super().look_up(terms, passages)


def test_however_long_the_conversation_is_so_much_is_read_at_most() -> None:
    postings = Watched()
    many = [f"{letter}47" for letter in "abcdefghijklmnopqrst"]
    for place in range(400):
        postings.add(place, HumanMessage(" ".join(many)))
    rank(many, 400, postings)
    assert postings.read == MOST_TERMS * MOST_POSTINGS
    assert postings.looked_up <= MOST_TERMS * MOST_CANDIDATES


def test_a_common_term_counts_also_where_its_newest_postings_do_not_reach() -> None:
    messages = chat("flute banjo", "x", "flute harp", *["banjo guitar"] * 200)
    assert ranked("flute banjo", messages)[0].message == 0


def watched(*texts: str) -> Watched:
    postings = Watched()
    for place, message in enumerate(chat(*texts)):
        postings.add(place, message)
    return postings


def test_a_ranking_looks_nothing_up_where_no_term_is_cut_off() -> None:
    postings = watched("banjo", "guitar")
    assert ({each.message for each in rank(["banjo", "guitar"], 2, postings)}, postings.asked) == ({0, 1}, [])


def test_a_ranking_looks_up_the_terms_that_are_cut_off_in_the_candidates_before_what_it_read() -> None:
    postings = watched("x", "guitar", *["banjo"] * 200)
    rank(["banjo", "guitar"], 202, postings)
    ((terms, passages),) = postings.asked
    assert (terms, passages) == ([term_hash("banjo")], [(1, 0)])


@given(texts, st.lists(st.sampled_from(WORDS), max_size=4), st.permutations(range(12)))
@settings(max_examples=examples(200))
def test_the_order_in_which_messages_left_changes_nothing(said: list[str], asked: list[str], order: list[int]) -> None:
    messages = chat(*said)
    one, other = lists(messages), lists(messages, [place for place in order if place < len(messages)])
    assert rank(asked, len(messages), one) == rank(asked, len(messages), other)


@given(texts, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
@settings(max_examples=examples(200))
def test_where_messages_are_short_what_is_ranked_has_a_term_of_the_question(said: list[str], asked: list[str]) -> None:
    messages = chat(*said)
    wanted = set(terms_of(" ".join(asked)))
    for each in ranked(" ".join(asked), messages):
        assert wanted & set(terms_of(messages[each.message].text))


def test_a_message_is_added_once() -> None:
    postings = lists(chat("banjo"))
    postings.add(0, HumanMessage("banjo"))
    assert len(postings.newest([term_hash("banjo")], 9)) == 1


def test_postings_come_back_as_they_were_put_in() -> None:
    found = lists(chat("x", "harp banjo banjo", "banjo")).newest([term_hash("banjo")], 9)
    banjo = term_hash("banjo")
    assert found == [Posting(banjo, 2, 0, 1, 1), Posting(banjo, 1, 0, 2, 3)]


def test_postings_are_looked_up_by_term_and_passage() -> None:
    harp, banjo = term_hash("harp"), term_hash("banjo")
    found = lists(chat("harp", "harp banjo", "banjo")).look_up([harp, banjo], [(0, 0), (2, 0), (5, 0)])
    assert found == [Posting(harp, 0, 0, 1, 1), Posting(banjo, 2, 0, 1, 1)]


def test_the_own_word_of_a_short_question_is_asked_for_whatever_was_asked_before() -> None:
    before = HumanMessage(" ".join(f"{word}{letter * 9}" for word in WORDS for letter in "ab"))
    terms = question_terms([before, AIMessage("Hm.")], "And the cat?")
    assert (terms[0], len(asked_terms(terms))) == ("cat", MOST_TERMS)
    assert set(terms) == set(asked_terms(terms))


def test_the_own_word_of_a_short_question_says_more_than_those_of_the_one_before() -> None:
    before = HumanMessage(" ".join(WORDS))
    messages = chat(*[" ".join(WORDS[:4])] * 3, "I have a cat.", *[" ".join(WORDS[4:])] * 3)
    found = rank(question_terms([before], "The cat?"), len(messages), lists(messages))
    assert found[0].message == 3


def test_a_term_that_a_question_repeats_counts_once() -> None:
    assert question_terms([], "banjo and guitar, a guitar") == ["banjo", "guitar"]


def test_a_passage_that_joins_two_makes_room_for_another_line() -> None:
    first, second, third, other = (Match("human", "word ", *place, 1.0) for place in ((0, 0), (0, 1), (0, 2), (5, 0)))
    room = len(quoted([first._replace(text="word word word"), other]))
    assert len(quoted([first, third])) <= room < len(quoted([first, third, other]))
    found = chosen([first, third, second, other], room, len)
    assert [(each.message, each.text) for each in found] == [(0, "word word word "), (5, "word ")]


def test_what_histories_of_others_give_without_places_is_all_chosen() -> None:
    given = [Match("human", text, 0, 0, 0.0, is_own=False) for text in ("one", "two")]
    assert chosen(given, 400, len) == given
