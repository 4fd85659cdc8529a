"""Lineages: chains of parents, common ancestors, aliases, circles, and what nobody recorded."""

import pytest

from queries.reading.lineage import Lineages
from queries.reading.select import RunRow


def run(k: int, name: str, parent: str = "", init_hash: str = "", names: tuple[str, ...] = ()) -> RunRow:
    return RunRow(
        k, name, "toy", "pathscope", "", None, None, None, init_hash, (), False, None, None, (name, *names), parent
    )  # fmt: skip


BASE = run(1, "base", names=("old name of base",))
CHILD = run(2, "child", "old name of base")
GRANDCHILD = run(3, "grandchild", "child")
COUSIN = run(4, "cousin", "base")
FIRST, SECOND = run(5, "first", "elsewhere"), run(6, "second", "first")
OTHER_FIRST = run(7, "other first", "elsewhere")
SEEDED, TWIN = run(8, "seeded", init_hash="x"), run(9, "twin", init_hash="x")
OF_SEEDED, OF_TWIN = run(10, "of seeded", "seeded"), run(11, "of twin", "twin")
STRANGER = run(12, "stranger", init_hash="y")
ROUND, AND_ROUND = run(13, "round", "and round"), run(14, "and round", "round")
OWN_PARENT = run(15, "own parent", "own parent")
EVERY = [
    BASE, CHILD, GRANDCHILD, COUSIN, FIRST, SECOND, OTHER_FIRST, SEEDED, TWIN, OF_SEEDED, OF_TWIN, STRANGER, ROUND, AND_ROUND,
    OWN_PARENT,
]  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (BASE, BASE, "both are checkpoints of one run"),
        (BASE, CHILD, "child goes on from base"),
        (BASE, GRANDCHILD, "grandchild goes on from base, by way of child"),
        (GRANDCHILD, BASE, "grandchild goes on from base, by way of child"),
        (GRANDCHILD, COUSIN, "both descend from base"),
        (SECOND, OTHER_FIRST, "both descend from elsewhere"),
        (SEEDED, TWIN, "both runs began from the same weights"),
        (OF_SEEDED, OF_TWIN, "seeded and twin, which they descend from, began from the same weights"),
    ],
)
def test_relatives_are_found_either_way(a: RunRow, b: RunRow, why: str) -> None:
    lineages = Lineages(EVERY)
    assert lineages.same(a, b) == (True, why)
    assert lineages.same(b, a)[0]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (BASE, STRANGER),
        (CHILD, OF_SEEDED),
        (ROUND, BASE),
        (OWN_PARENT, BASE),
        (SECOND, BASE),
        (STRANGER, SEEDED),
    ],
)
def test_others_are_not(a: RunRow, b: RunRow) -> None:
    same, why = Lineages(EVERY).same(a, b)
    assert not same
    assert why


def test_lines_end_where_nothing_is_known_or_a_circle_closes() -> None:
    lineages = Lineages(EVERY)
    assert lineages.line(GRANDCHILD) == ["grandchild", "child", "base"]
    assert lineages.line(SECOND) == ["second", "first", "elsewhere"]
    assert lineages.line(ROUND) == ["round", "and round"]
    assert lineages.line(OWN_PARENT) == ["own parent"]
    assert lineages.parent(FIRST) is None
