import json
import math
from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.store import Archive
from queries.loss_curves import LossCurves, loss_curves
from queries.render import as_text, interval, number
from queries.results import readable_sql
from tests.queries.simulated import LOSS_HERE, PUBLISHED, Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    for k, run in enumerate(simulation.seeds(3, prefix="a/long/path/s")):
        simulation.curve(run, LOSS_HERE, [0, 10, 20], [5.0, 3.0, 1.0 + k])
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


@pytest.fixture
def answer(archive: Archive) -> LossCurves:
    return loss_curves(archive)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (True, "yes"),
        (2700, "2700"),
        (143_000, "143,000"),
        (2700.0, "2700"),
        (1402.6, "1403"),
        (0.123456, "0.1235"),
        (1e-9, "1e-09"),
        (-12345.6, "-12,346"),
        ("L2H3", "L2H3"),
        ([1, 2.5], "1, 2.5"),
    ],
)
def test_numbers_read_well(value: object, expected: str) -> None:
    assert number(value) == expected


def test_intervals_read_well() -> None:
    assert interval(0.5, math.inf) == "[0.5, ∞]"
    assert interval(math.nan, math.nan) == ""


def test_the_text_has_all_that_is_needed_to_judge(answer: LossCurves) -> None:
    text = str(answer)

    for words in (
        answer.sentence.split(":")[0],
        "3 runs",
        "What this cannot tell",
        "loss version 1",
        answer.python[:40],
    ):
        assert words in text
    assert "run without a/long/path/" in text
    assert "\ns0 " in text
    assert max(map(len, text.splitlines())) <= 120


def test_columns_that_do_not_fit_are_named(answer: LossCurves) -> None:
    wide = replace(answer, table=pa.table({f"column_number_{k}": ["x" * 30, "y" * 30] for k in range(10)}))

    assert "also: column_number_3" in str(wide)


def test_the_html_escapes_and_needs_no_script(answer: LossCurves) -> None:
    page = replace(answer, title="<b>", table=pa.table({"run": ["<script>alert(1)</script>"]}))._repr_html_()

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "What this cannot tell" in page
    assert "SELECT" in page


def test_json_has_no_numbers_that_json_lacks(answer: LossCurves) -> None:
    broken = replace(answer, estimate=math.inf, table=pa.table({"x": [1.0, math.nan, None]}))
    document = json.loads(json.dumps(broken.to_dict(), allow_nan=False))

    assert document["estimate"] is None
    assert [row["x"] for row in document["table"]] == [1.0, None, None]


def test_json_has_every_table_of_the_answer(answer: LossCurves) -> None:
    document = answer.to_dict()

    assert set(document["tables"]) == {"bands"}
    assert document["tables"]["bands"] == answer.bands.to_pylist()


def test_json_says_where_it_comes_from(simulation: Simulation) -> None:
    from archive.records import Quantity
    from archive.upkeep.marks import exclude

    theirs = Quantity(measure=LOSS_HERE.measure, encoding=LOSS_HERE.encoding, source=PUBLISHED)
    for run in simulation.seeds(2):
        simulation.curve(run, theirs, [0], [1.0])
    simulation.run("bare")
    archive = simulation.commit()
    exclude(archive.layout, "s1", "bad data")
    provenance = loss_curves(archive).to_dict()["provenance"]

    (q,) = provenance["quantities"]
    assert (q["source"], q["licence"], q["eval_set"]) == ("published set", "CC-BY-4.0", "all pairs")
    assert provenance["runs"] == ["s0"]
    assert provenance["runs_without"] == ["bare"]
    assert [(r["run"], r["reason"]) for r in provenance["excluded_runs"]] == [("s1", "bad data")]
    assert provenance["archive"] == str(archive.layout.database)


def test_data_frames(answer: LossCurves) -> None:
    assert answer.to_pandas()["value"].sum() == pytest.approx(30)
    with pytest.raises(ImportError, match="needs polars"):
        answer.to_polars()


def test_the_repr_is_the_answer(answer: LossCurves) -> None:
    assert repr(answer) == f"<LossCurves: {answer.sentence}>"


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**31), 2**31),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
        st.lists(st.integers(-5, 5), min_size=1),
    )
)
def test_sql_with_its_values_written_out_means_the_same(value: object) -> None:
    assert duckdb.execute(readable_sql("SELECT $x", {"x": value})).fetchall() == [(value,)]


def test_a_name_that_begins_like_another_is_not_replaced() -> None:
    assert readable_sql("$run $runs", {"run": 1, "runs": [2]}) == "1 [2]"
    with pytest.raises(TypeError, match="no SQL literal"):
        readable_sql("$x", {"x": object()})


def test_what_all_rows_share_is_said_once_and_leaves_room_for_the_numbers(answer: LossCurves) -> None:
    table = pa.table(
        {"run": ["a", "b"], "group": ["g" * 90] * 2, "reached": [700, 2400], "gap": [None, None]}
    )
    text = as_text(replace(answer, table=table), width=80)
    assert "700" in text
    assert "2400" in text
    assert text.count("g" * 60) <= 1  # wrapped at 80 columns, and only in the note
    assert "all rows: group" in text


def test_one_group_for_all_rows_takes_no_column(answer: LossCurves) -> None:
    table = pa.table({"group": ["g" * 150] * 2, "position": ["units", "tens"], "median step": ["396", "596"]})
    text = as_text(replace(answer, table=table), width=80)
    assert "596" in text
    assert "all rows: group" in text


def test_a_text_that_does_not_fit_hides_no_number_after_it(answer: LossCurves) -> None:
    table = pa.table({"run": ["a", "b"], "note": ["x" * 90, "y" * 90], "reached": [700, 2400]})
    text = as_text(replace(answer, table=table), width=80)
    assert "2400" in text
    assert "also: note" in text


def test_groups_are_shown_by_what_they_differ_in(answer: LossCurves) -> None:
    table = pa.table({"group": [f"{'word ' * 30}wd={k}" for k in (1, 2)], "reached": [700, 2400]})
    text = as_text(replace(answer, table=table), width=80)
    assert "\nwd=1 " in text
    assert "2400" in text


def test_a_long_first_column_is_broken_into_lines_and_leaves_room_for_the_numbers(answer: LossCurves) -> None:
    table = pa.table({"group": [f"{k}{'word' * 30}" for k in (1, 2)], "reached": [700, 2400]})
    text = as_text(replace(answer, table=table), width=80)
    assert "2400" in text
    assert "".join(line.split(" ")[0] for line in text.splitlines()).count("word") == 60


def test_rows_that_are_all_alike_keep_their_columns(answer: LossCurves) -> None:
    table = pa.table({"group": ["a", "b"], "gradual": [3, 3]})
    text = as_text(replace(answer, table=table), width=80)
    assert "gradual" in text
    assert "all rows" not in text


def test_a_single_row_is_written_downwards_and_whole(answer: LossCurves) -> None:
    table = pa.table({f"column_number_{k}": ["x" * 30] for k in range(10)})
    text = as_text(replace(answer, table=table), width=80)
    assert all(f"column_number_{k}" in text for k in range(10))
