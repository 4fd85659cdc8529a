import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.evalsets.classes import TokenClass
from ingest.evalsets.structure import Structure, indentation, opening, words
from tests.references.text_masks import brackets_by_removal


def test_a_closing_bracket_knows_the_one_that_it_closes():
    texts = ["f", "(", "a", " [", "0", "],", " {", "}", "))", "("]
    assert opening(texts) == [-1, -1, -1, -1, -1, 3, -1, 6, 1, -1]


def test_brackets_that_do_not_match_are_passed_over():
    assert opening(["(", "]", ")"]) == [-1, -1, 0]
    assert opening([")", "(", "()", ")"]) == [-1, -1, -1, 1]
    # closing two at once: the outer one counts
    assert opening(["(", "[", "])"]) == [-1, -1, 0]


@given(st.text("()[]{}a", max_size=30))
def test_brackets_are_those_that_taking_out_innermost_pairs_finds(text):
    """Where every bracket that closes has its partner innermost; others are read more carefully than by removal."""
    found = {(i, at) for i, at in enumerate(opening(list(text))) if at >= 0}
    removed = brackets_by_removal(text)
    balanced = len(removed) * 2 == sum(character != "a" for character in text)
    if balanced:
        assert found == removed


def test_lines_indented_as_far_have_one_number():
    texts = ["x", ":", "\n", "  ", "a", "\n  ", " b", "\n\n", "c", "\n\t", "d", "\n  e", "f"]
    #        rest of a line      2 spaces    3 spaces   none       tab     2 spaces
    assert indentation(texts) == [-1, -1, -1, -1, 0, -1, 1, -1, 2, -1, 3, 0, -1]


def test_words_are_compared_without_case_and_spaces_and_only_where_they_begin():
    start, rest, number = TokenClass.WORD_START, TokenClass.WORD_CONTINUATION, TokenClass.NUMBER
    texts = ["The", " cat", " the", "the", " 7", " Cat"]
    assert words(texts, np.array([start, start, start, rest, number, start])) == [0, 1, 0, -1, -1, 1]


def test_all_three_of_all_sequences():
    texts = [["(", "a", ")", "\n"], ["\n", "a", "\n", "A"]]
    classes = np.where(np.array(texts) == "\n", TokenClass.WHITESPACE, TokenClass.WORD_START)
    found = Structure.of(texts, classes)
    assert found.opening.tolist() == [[-1, -1, 0, -1], [-1] * 4]
    assert found.indentation.tolist() == [[-1] * 4, [-1, 0, -1, 0]]
    assert found.word.tolist() == [[0, 1, 2, -1], [-1, 0, -1, 0]]
