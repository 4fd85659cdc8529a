"""`import pathscope` offers every name it promises, and says so when there is none."""

import pytest

import pathscope
from pathscope.facade import HOMES
from queries.registry import all_queries


@pytest.mark.parametrize("name", dir(pathscope))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(pathscope, name)

    assert name == "__version__" or (thing.__doc__ or "").strip()


def test_every_query_is_a_public_name() -> None:
    assert set(all_queries()) <= set(dir(pathscope))


def test_no_query_hides_behind_a_fixed_name() -> None:
    assert set(all_queries()) & set(HOMES) == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'loss_curve'.*dir"):
        _ = pathscope.loss_curve  # type: ignore[attr-defined]  # the point of the test
