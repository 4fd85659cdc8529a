"""Addresses of pages: what stands in them, and that numbers 0 do."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ui.models.address import APART, MAY_BE_EMPTY, filled, ignored, page_address, permalink
from ui.view import discover

UI = Path(__file__).parents[2] / "ui"

HERE = "http://host:8501/proxy/heads?focus=old"


@dataclass(frozen=True)
class Chosen:
    focus: str = ""
    step: int | None = None
    white: bool = False
    run: tuple[str, ...] = ()


def test_an_address_of_another_page_keeps_the_explorers_own_and_every_zero() -> None:
    address = page_address(
        HERE, "neuron", focus="a b", step=0, layer=0, unit=7, white=False, sort="", head=None
    )
    assert address == "http://host:8501/proxy/neuron?focus=a+b&step=0&layer=0&unit=7"
    assert page_address(HERE, "neuron", white=True).endswith("neuron?white=true")


def test_a_permalink_has_what_was_chosen_and_no_more() -> None:
    assert permalink(HERE, Chosen(step=0)) == "http://host:8501/proxy/heads?step=0"
    assert permalink(HERE, Chosen("x", 1, True, ("a", "b*"))).endswith(
        "?focus=x&step=1&white=true&run=a&run=b%2A"
    )


def test_an_empty_word_says_something_only_where_nothing_can_be_chosen() -> None:
    asked = {
        "show": [""],
        "part": [""],
        "step": ["0"],
        "run": ["", "a"],
        "unit": ["1e999"],
        "level": ["3", "-inf"],
    }
    assert filled(asked) == {
        "part": [""],
        "step": ["0"],
        "run": ["", "a"],
    }


def test_what_may_be_empty_is_what_pages_let_people_empty() -> None:
    emptied = re.compile(r"""(?:multiselect|text_input|text_area)\((?:[^()]|\([^()]*\))*?key="(\w+)\"""")
    found = {key for file in UI.rglob("*.py") for key in emptied.findall(file.read_text())}
    assert found == MAY_BE_EMPTY


@pytest.mark.parametrize(
    ("word", "kept", "shown", "line"),
    [
        ("137", [], 2000, "step = 137 is not there: 2000 is chosen."),
        ("99", ["63"], 63, "step = 99 is not there: 63 is chosen."),
        ("L9H9", [], None, "step = L9H9 is not there: nothing is chosen."),
        ("maybe", [], False, "step = maybe is not there: false is chosen."),
        ("a", ["b"], ["b"], "step = a is not there: b is chosen."),
        ("2000", [], 2000, ""),
        ("0.50", [], 0.5, ""),
        ("false", [], False, ""),
        ("log", [], "log", ""),
        ("b", [], ("a", "b"), ""),
        ("any", ["any"], "other", ""),
    ],
)
def test_what_is_ignored_is_said_with_what_is_shown(
    word: str, kept: list[str], shown: object, line: str
) -> None:
    said = ignored({"step": [word]}, {"step": kept} if kept else {}, {"step": shown})
    assert said == ([line] if line else [])


def test_words_that_a_page_did_not_ask_for_are_not_judged() -> None:
    assert ignored({"nobody": ["x"], "step": [""]}, {}, {"step": 3}) == []


def test_an_address_by_hand_breaks_no_page_and_the_page_says_what_it_took(
    page: Callable[..., AppTest],
) -> None:
    app = page("demo", "heads", show="", sort="", step="137", x_scale="linear", head="L9H9", y_scale="linear")
    assert not app.exception
    assert app.segmented_control(key="show").value == "one run"
    (toast,) = app.toast
    told = "step = 137 is not there: 1200 is chosen. head = L9H9 is not there: nothing is chosen."
    assert toast.value.replace("\\", "") == f"**In the address:** {told}"
    assert not app.run().toast, "said once"


def test_a_word_goes_along_only_to_pages_where_it_says_the_same(page: Callable[..., AppTest]) -> None:
    app = page("demo", "curves")
    app.selectbox("measure").set_value("accuracy")
    app.run()

    app.switch_page("views/home.py").run()  # has no such word
    app.switch_page("views/transitions.py").run()

    assert app.multiselect("measure").value == ["loss"]


def test_words_are_told_apart_on_pages_that_are_there() -> None:
    there = {view.url_path for view in discover()}
    for groups in APART.values():
        pages = [name for one in groups for name in one]
        assert there.issuperset(pages)
        assert len(pages) == len(set(pages))
