import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.ui.archives import HOSTILE
from ui.models.text import (
    age,
    count,
    distinguish,
    escape_markdown,
    escape_plotly,
    fold,
    number,
    plural,
    shorten,
    size,
)


def shown(markdown: str) -> str:
    """What CommonMark shows of a text, all of it text: raises when anything became markup."""
    (paragraph,) = [
        t
        for t in MarkdownIt("commonmark").enable(["strikethrough", "table"]).parse(markdown)
        if t.type == "inline"
    ]
    assert {child.type for child in paragraph.children or []} <= {"text", "text_special"}, paragraph.children
    return "".join(child.content for child in paragraph.children or [])


@given(st.text(string.ascii_letters + string.punctuation, min_size=1))
def test_markdown_shows_the_text_letter_by_letter(text: str) -> None:
    assert shown("x" + escape_markdown(text)).replace("\u2060", "") == "x" + text


def test_markdown_shows_a_hostile_name_letter_by_letter() -> None:
    assert shown(escape_markdown(HOSTILE)).replace("\u2060", "") == HOSTILE


@given(st.text(string.ascii_lowercase + ":/_+-", max_size=40))
def test_nothing_that_is_shown_is_an_icon_or_an_emoji(text: str) -> None:
    # Streamlit looks for these in the text that Markdown leaves, so a backslash does not stop it
    said = shown("x" + escape_markdown(text + ":material/home: :smile::+1:"))
    assert not re.search(r":(material|streamlit)/\w+:|:[\w+-]+:", said)


def test_streamlits_own_directives_are_escaped_too() -> None:
    # not CommonMark: colours, icons and LaTeX are Streamlit's additions
    assert escape_markdown(":red[x] $x$ a:b") == r"\:red\[x\] \$x\$ a\:b"


@given(st.text())
def test_plotly_gets_no_tags_and_no_line_breaks(text: str) -> None:
    escaped = escape_plotly(text)
    assert not set("<>\n") & set(escaped)
    assert escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text.replace("\n", " ")


@given(st.text(), st.integers(5, 80))
def test_shorten_keeps_both_ends_and_the_width(text: str, width: int) -> None:
    short, whole = shorten(text, width), " ".join(text.split())
    assert len(short) <= width
    assert short == whole or (whole.startswith(short.split("…")[0]) and whole.endswith(short.split("…")[-1]))


def test_a_hover_box_is_a_few_short_lines_of_plain_text() -> None:
    lines = fold(HOSTILE, width=60, lines=4).split("<br>")
    assert len(lines) <= 4
    assert not any("<" in line for line in lines)


def test_labels_keep_only_what_differs() -> None:
    assert distinguish(["p=47, decay 2, lr 1", "p=47, decay 1, lr 1"]) == ["decay 2", "decay 1"]
    assert distinguish(["set/k/1", "set/k/1p5"]) == ["1", "1p5"]


def test_labels_that_would_be_cut_to_the_same_letters_lose_the_end_they_share() -> None:
    names = [f"lm_small/n_layers={n}/init{s}-data{s}-split0" for n in (1, 2) for s in (0, 1)]
    assert distinguish(names, 22) == [f"n_layers={n}/init{s}-data{s}" for n in (1, 2) for s in (0, 1)]
    # nothing is dropped where the labels fit, and a name that is only a shared end stays
    assert distinguish(["k/a-split0", "k/b-split0"]) == ["a-split0", "b-split0"]
    assert distinguish(["split0", "a-split0"], 5) == ["sp…t0", "a-…t0"]


def test_labels_without_a_difference_left_stay_whole() -> None:
    assert distinguish(["a, b", "b, a"]) == ["a, b", "b, a"]
    assert distinguish(["only, one"]) == ["only, one"]


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "0"), (999, "999"), (9999, "9 999"), (15_310, "15.3 k"), (999_700, "1000 k"), (4_560_000, "4.56 M")],
)
def test_count(n: int, words: str) -> None:
    assert count(n) == words


@pytest.mark.parametrize(("n", "words"), [(12, "12 bytes"), (17_676_000, "17.7 MB"), (2.5e9, "2.5 GB")])
def test_size(n: float, words: str) -> None:
    assert size(n) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "just now"), (59, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (1e6, "11 days ago")],
)
def test_age(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_numbers_that_are_none() -> None:
    assert [number(v) for v in (float("nan"), float("inf"), -1.5)] == ["—", "∞", "−1.5"]


def test_plural() -> None:
    assert [plural(1, "run"), plural(2, "run"), plural(0, "study", "studies")] == [
        "1 run",
        "2 runs",
        "0 studies",
    ]
