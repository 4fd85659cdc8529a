"""Natural keys become ids: definitions do not change, blanks are filled, contradictions are written down."""

import json
from typing import Any

import pytest

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.records import (
    Checkpoint,
    Encoding,
    Family,
    Measure,
    Part,
    Quantity,
    Run,
    Source,
    Study,
)
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.archive.making import (
    HEAD,
    LOSS,
    LOSS_MEASURE,
    commit,
    head_shard,
    put,
    refusals,
    run_record,
)
from tests.archive.test_shard import rewrite


def shard_with(record: Run, *measures: Measure) -> ShardBuilder:
    b = ShardBuilder(kind="measure")
    owner = b.run(record)
    for measure in measures:
        q = b.quantity(Quantity(measure=measure))
        b.cell(owner, q)
    return b


@pytest.mark.parametrize("one_batch", [True, False])
@pytest.mark.parametrize("field", ["unit", "scope", "table", "lower_bound", "upper_bound", "direction"])
def test_a_measure_is_not_redefined(field: str, one_batch: bool, layout: Layout) -> None:
    changed: dict[str, Any] = {
        "unit": "bits", "scope": "other", "table": "fact_head", "lower_bound": -1.0, "upper_bound": 9.0,
        "direction": "lower is better",
    }  # fmt: skip
    old, new = LOSS_MEASURE, LOSS_MEASURE.model_copy(update={field: changed[field]})
    if not one_batch:
        commit(layout, shard_with(run_record(), old))
        shards = [shard_with(run_record(), new)]
    else:
        shards = [shard_with(run_record(), old), shard_with(run_record(), new)]
    [reason] = refusals(layout, *shards)
    column = "table_name" if field == "table" else field
    assert f"measure loss@1 has {column} {changed[field]!r}, the archive knows it with" in reason
    assert "a changed definition needs a new version" in reason
    commit(layout, shard_with(run_record(), new.model_copy(update={"version": 2})))


def test_words_about_a_measure_may_differ(layout: Layout) -> None:
    commit(layout, shard_with(run_record(), LOSS_MEASURE))
    commit(layout, shard_with(run_record(), LOSS_MEASURE.model_copy(update={"summary": "In other words."})))


def test_a_quantity_must_have_the_hash_of_its_fields(layout: Layout) -> None:
    [path] = put(layout, head_shard([0]))
    records = json.loads((path / "manifest.json").read_text())["records"]
    records["quantity"][0]["params"] = {"lag": 3}
    rewrite(path, records=records)
    [(_, reason)] = commit_inbox(layout).refused
    assert f"quantity head.previous_token has hash {HEAD.hash[:12]}…, its fields give" in reason


@pytest.mark.parametrize("one_batch", [True, False])
def test_other_weights_need_another_snapshot(one_batch: bool, layout: Layout, archive: Archive) -> None:
    def with_weights(hash_: str, snapshot: str = "") -> ShardBuilder:
        b = ShardBuilder(kind="measure")
        b.run(run_record())
        owner, q = (
            b.checkpoint(Checkpoint(run="r1", step=5, snapshot=snapshot, weights_hash=hash_)),
            b.quantity(LOSS),
        )
        b.add("fact_scalar", owner, q, value=1.0)
        b.cell(owner, q)
        return b

    if not one_batch:
        commit(layout, with_weights("aaaa"))
        [reason] = refusals(layout, with_weights("bbbb"))
    else:
        [reason] = refusals(layout, with_weights("aaaa"), with_weights("bbbb"))
    assert "checkpoint r1 step 5 has weights bbbb…, the archive knows aaaa…" in reason
    assert "another snapshot name" in reason
    commit(layout, with_weights("bbbb", "2024-01"), with_weights(""))
    assert archive.value("SELECT count(*) FROM v_checkpoint") == 2


def test_what_is_blank_is_filled_and_what_contradicts_becomes_a_note(
    layout: Layout, archive: Archive
) -> None:
    commit(layout, shard_with(Run(name="r1", init_seed=1), LOSS_MEASURE))
    later = Run(
        name="r1",
        family="toy",
        init_seed=2,
        n_layers=3,
        final_step=9,
        config={"lr": 1},
        intervention={"at": 3},
    )
    commit(layout, shard_with(later, LOSS_MEASURE), shard_with(later, LOSS_MEASURE))
    row = archive.rows("SELECT * FROM v_run")[0]
    assert (row["init_seed"], row["n_layers"], row["family"], row["final_step"]) == (1, 3, "toy", 9)
    assert (row["config_json"], row["intervention_json"]) == ('{"lr": 1}', '{"at":3}')
    note = "init_seed is 2 according to this source, 1 in the run's row"
    assert archive.rows("SELECT run, source, note FROM v_run_note") == [
        {"run": "r1", "source": "pathscope", "note": note}
    ]


def test_another_family_is_a_note(layout: Layout, archive: Archive) -> None:
    commit(layout, shard_with(Run(name="r1", family="toy")), shard_with(Run(name="r1", family="real")))
    assert archive.value("SELECT family FROM v_run") == "toy"
    assert (
        archive.value("SELECT note FROM v_run_note")
        == "family is 'real' according to this source, 'toy' in the run's row"
    )


def test_the_final_step_only_grows(layout: Layout, archive: Archive) -> None:
    for step in (10, 30, 20):
        commit(layout, shard_with(Run(name="r1", final_step=step)))
    assert archive.value("SELECT final_step FROM v_run") == 30
    assert archive.value("SELECT count(*) FROM v_run_note") == 0


def test_names_of_a_run(layout: Layout, archive: Archive) -> None:
    for _ in range(2):
        commit(layout, shard_with(run_record(aliases=("a", "b"), tags=("t",), notes=("n",))))
    names = archive.query("SELECT name FROM v_run_name ORDER BY name").column(0).to_pylist()
    assert names == ["a", "b", "r1"]
    assert archive.value("SELECT tags FROM v_run") == ["t"]
    assert archive.value("SELECT count(*) FROM v_run_note") == 1


@pytest.mark.parametrize("one_batch", [True, False])
def test_one_alias_of_one_source_is_one_run(one_batch: bool, layout: Layout, archive: Archive) -> None:
    one, two = shard_with(run_record("r1", aliases=("a",))), shard_with(run_record("r2", aliases=("a",)))
    if not one_batch:
        commit(layout, one)
    [reason] = refusals(layout, *([one, two] if one_batch else [two]))
    assert "run 'r2' has alias 'a', which this source already uses for run 'r1'" in reason
    other = Source(name="other")
    b = ShardBuilder(kind="import")
    b.source(other)
    b.run(run_record("r2", source="other", aliases=("a",)))
    commit(layout, b)
    assert archive.value("SELECT count(*) FROM run_alias") == 2


def test_ids_of_a_runs_checkpoints_lie_together(layout: Layout, archive: Archive) -> None:
    commit(layout, head_shard([0], run="r1"), head_shard([0], run="r2"))
    commit(layout, head_shard(range(1, 1500), run="r1"), head_shard([1], run="r2"))
    rows = archive.rows(
        "SELECT run, count(*) AS n, count(DISTINCT checkpoint_id) AS ids, max(checkpoint_id) - min(checkpoint_id) AS spread "
        "FROM v_checkpoint GROUP BY run ORDER BY run"
    )
    assert [(r["run"], r["n"], r["ids"]) for r in rows] == [("r1", 1500, 1500), ("r2", 2, 2)]
    assert rows[1]["spread"] == 1
    assert (
        archive.value("SELECT count(*) FROM checkpoint_block") == 3
    )  # 1024 each, then one of 2048 for the longer run


def test_the_newest_wording_of_a_study_stays(layout: Layout, archive: Archive) -> None:
    for n in (3, 3, 5):
        b = ShardBuilder(
            kind="train", study=Study(name="s", toml=f"n = {n}", resolved={"n": n}, n_cells_wanted=n)
        )
        b.run(run_record(f"r{n}"))
        commit(layout, b)
    row = archive.rows("SELECT * FROM v_study")[0]
    assert (row["n_cells_wanted"], row["toml"], row["n_runs"]) == (5, "n = 5", 2)


def test_ids_point_to_what_the_manifest_named(layout: Layout, archive: Archive) -> None:
    """Everything at once, in two batches and in an order that makes wrong ids visible."""
    filler = ShardBuilder(kind="measure")
    for i in range(5):
        filler.family(Family(name=f"f{i}"))
        filler.run(Run(name=f"other {i}"))
        filler.quantity(
            Quantity(measure=LOSS_MEASURE, params={"i": i}, encoding=Encoding.named_only(f"e{i}", source="x"))
        )
        filler.part(Part(kind="split", name=f"p{i}"))
    commit(layout, filler)
    b = ShardBuilder(kind="measure")
    for run in ("z", "a"):
        b.run(run_record(run, family="f3"))
        for step in (7, 2):
            owner = b.checkpoint(Checkpoint(run=run, step=step, tokens_seen=step * 10))
            for i in (4, 1):
                q = b.quantity(
                    Quantity(
                        measure=LOSS_MEASURE,
                        params={"i": i},
                        encoding=Encoding.named_only(f"e{i}", source="x"),
                    )
                )
                for part in (3, 0):
                    p = b.part(Part(kind="split", name=f"p{part}"))
                    b.add("fact_scalar", owner, q, part=p, value=ord(run) * 1000 + step * 100 + i * 10 + part)
                b.cell(owner, q)
    commit(layout, b)
    rows = archive.rows(
        "SELECT run, family, step, tokens_seen, params_json, eval_set, part, value FROM v_scalar"
    )
    assert len(rows) == 16
    for r in rows:
        run, rest = divmod(int(r["value"]), 1000)
        step, rest = divmod(rest, 100)
        i, part = divmod(rest, 10)
        expected = (chr(run), "f3", step, step * 10, f'{{"i":{i}}}', f"e{i}", f"p{part}")
        assert tuple(r.values())[:-1] == expected
