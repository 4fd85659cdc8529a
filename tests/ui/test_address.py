"""Addresses of pages: what stands in them, and that numbers 0 do."""

from dataclasses import dataclass

from ui.models.address import page_address, permalink

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
