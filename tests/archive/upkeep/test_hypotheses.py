import getpass
import json

import pytest

from archive.errors import ArchiveNotFound, UsageError
from archive.layout import Layout
from archive.store import Archive
from archive.upkeep.hypotheses import add_hypothesis
from archive.upkeep.merge import merge
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make


def rows(layout: Layout) -> list[dict[str, object]]:
    return Archive(layout.database).rows("SELECT * FROM v_hypothesis ORDER BY name")


def add(layout: Layout, name: str = "h", **fields: object) -> None:
    given = {"statement": "seeds agree", "primary_measure": "loss", **fields}
    add_hypothesis(layout, name, **given)  # type: ignore[arg-type]


def test_a_hypothesis_is_written_with_who_and_when(full: Layout) -> None:
    add(full, alpha=0.01, runs=["new/*", "family:x"])
    (row,) = rows(full)
    now = Archive(full.database).value("SELECT now()")

    assert (row["name"], row["statement"], row["primary_measure"], row["alpha"]) == (
        "h",
        "seeds agree",
        "loss",
        0.01,
    )
    assert json.loads(str(row["runs_json"])) == {"runs": ["new/*", "family:x"]}
    assert row["who"] == getpass.getuser()
    assert 0 <= (now - row["registered_at"]).total_seconds() < 60
    (audited,) = Archive(full.database).rows("SELECT action, target, detail_json FROM v_audit")
    assert (audited["action"], audited["target"]) == ("hypothesis", "h")
    assert json.loads(audited["detail_json"])["statement"] == "seeds agree"


def test_a_name_is_taken_once_and_the_refusal_says_by_what(full: Layout) -> None:
    add(full)
    before = rows(full)
    with pytest.raises(
        UsageError, match=r"'h' is registered and cannot be changed: 'seeds agree', by loss at alpha 0.05"
    ):
        add(full, statement="seeds do not agree")
    with pytest.raises(UsageError, match="cannot be changed"):
        add(full)

    assert rows(full) == before
    assert Archive(full.database).value("SELECT count(*) FROM v_audit") == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "a b"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"statement": "  "}, "needs a statement"),
        ({"primary_measure": ""}, "needs a statement that others can judge and a primary measure"),
        ({"alpha": 0.0}, "alpha = 0; expected"),
        ({"alpha": 0.6}, "alpha = 0.6; expected"),
        ({"alpha": float("nan")}, "alpha = nan"),
    ],
)
def test_what_nobody_can_judge_is_refused(full: Layout, fields: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        add(full, **fields)

    assert rows(full) == []


def test_without_an_archive_nothing_is_made(tmp_path: object) -> None:
    layout = Layout.of(f"{tmp_path}/no.duckdb")
    with pytest.raises(ArchiveNotFound):
        add(layout)

    assert not layout.folder.exists()


def test_merging_brings_them_and_tells_which_say_something_else(make: Make) -> None:
    mine, other = make("mine", sample.little()), make("other", sample.little())
    add(mine, "both", runs=["mine/*"])
    add(other, "both", runs=["theirs/*"])
    add(other, "new", alpha=0.01)
    report = merge(mine, other.database)

    assert [(c.what, c.name) for c in report.conflicts if c.what == "hypothesis"] == [
        ("hypothesis", "both: runs_json")
    ]
    theirs = {row["name"]: row for row in rows(other)}
    ours = {row["name"]: row for row in rows(mine)}
    assert ours["new"] == theirs["new"]
    assert ours["both"]["runs_json"] == '{"runs":["mine/*"]}'
