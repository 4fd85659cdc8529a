"""Questions to published results, judged by what their authors or independent scripts say."""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from archive.store import Archive
from ingest.importers.importing import import_results
from queries.benchmark_curves import benchmark_curves
from queries.divergent_runs import divergent_runs
from queries.early_prediction import early_prediction
from queries.head_score_history import head_score_history
from queries.head_scores import head_scores
from queries.rank_models import rank_models
from queries.smaller_beats_larger import ALPHA, smaller_beats_larger
from queries.stats.equal_truth import null_errors, one_sided
from queries.stats.multiple import holm
from queries.transition_times import transition_times
from queries.universal_neurons import universal_neurons

pytestmark = [pytest.mark.refdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def archive(refdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    database = tmp_path_factory.mktemp("published") / "published.duckdb"
    import_results(database, refdata / "muon-grokking", format_name="grokking-logs")
    import_results(database, refdata / "head-scores", format_name="head-scores")
    import_results(database, refdata / "pythia" / "evals" / "pythia-v1", format_name="lm-eval")
    return Archive(database)


@pytest.fixture(scope="module")
def more(refdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    database = tmp_path_factory.mktemp("more published") / "more.duckdb"
    import_results(database, refdata / "modded-nanogpt", format_name="val-loss-logs")
    import_results(database, refdata / "circuits-over-time", format_name="ioi-curves")
    return Archive(database)


@pytest.mark.parametrize(
    ("part", "level", "event"), [("test", 0.95, "event.grok_step"), ("train", 0.99, "event.memorize_step")]
)
def test_onsets_are_those_the_authors_give_in_every_run(
    archive: Archive, part: str, level: float, event: str
) -> None:
    given = {
        row["run"]: row["step"]
        for row in archive.rows("SELECT run, step FROM v_event WHERE measure = $event", {"event": event})
    }
    answer = transition_times(archive, measure="accuracy", part=part, level=level)
    found = dict(zip(answer.table["run"].to_pylist(), answer.table["reached"].to_pylist(), strict=True))

    assert len(found) == 148
    assert found == given


def test_an_outcome_that_depends_on_the_seed(archive: Archive) -> None:
    answer = transition_times(archive, runs="*ladder_A5_adamw_d256_s?", measure="accuracy")
    groks = [r["run"][-1] for r in answer.table.to_pylist() if r["kind"] == "observed"]

    assert groks == ["0", "2", "4"]
    assert answer.sentence.startswith("log.accuracy (test) ≥ 0.95: reached by 3 of 5 runs")


@pytest.mark.parametrize(
    ("step", "low", "high"),
    [(0, 0.13, 0.13), (512, 0.17, 0.21), (1000, 0.33, 0.38), (10_000, 0.65, 0.76), (143_000, 0.72, 0.79)],
)
def test_the_best_previous_token_head_of_each_seed(
    archive: Archive, step: int, low: float, high: float
) -> None:
    answer = head_scores(archive, runs="pythia-14m-seed*", step=step)

    assert answer.summary is not None
    best = np.array(answer.summary["best_value"].to_pylist())
    assert len(best) == 9
    # the page gives two digits
    assert (round(best.min(), 2), round(best.max(), 2)) == (low, high)


def test_histories_end_where_the_scores_are(archive: Archive) -> None:
    scores = head_scores(archive, runs="pythia-14m-seed*")
    history = head_score_history(archive, runs="pythia-14m-seed*", top=1)

    assert history.summary is not None
    assert scores.summary is not None
    assert history.summary["last"].to_pylist() == scores.summary["best_value"].to_pylist()
    assert history.summary["n_checkpoints"].to_pylist() == [16] * 9


@pytest.mark.parametrize(("shots", "name"), [(0, "zero-shot"), (5, "five-shot")])
@pytest.mark.parametrize("metric", ["acc", "ppl"])
def test_final_benchmark_results(archive: Archive, refdata: Path, shots: int, name: str, metric: str) -> None:
    facts = json.loads((refdata / "open-facts.json").read_text())
    expected = {run: values[metric] for run, values in facts[f"pythia_v1_open_final_lambada_{name}"].items()}
    answer = benchmark_curves(archive, runs=list(expected), task="lambada_openai", metric=metric, shots=shots)

    assert answer.summary is not None
    finals = dict(zip(answer.summary["run"].to_pylist(), answer.summary["final"].to_pylist(), strict=True))
    assert finals == expected


def test_the_smallest_models_get_worse_late(archive: Archive) -> None:
    answer = benchmark_curves(archive, runs=["pythia-70m", "pythia-160m"], task="lambada_openai")
    finals = {r["run"]: r["final"] for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    best = {r["run"]: (r["best"], r["best_step"]) for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert best == {
        "pythia-70m": (0.25344459538133124, 53_000),
        "pythia-160m": (0.39918494081117795, 63_000),
    }
    assert finals["pythia-160m"] == 0.3283524160683097
    assert "2 of 2 end worse than they were, beyond chance" in answer.sentence
    largest = benchmark_curves(archive, runs=["pythia-1.4b", "pythia-2.8b"], task="lambada_openai")
    assert "0 of 2 end worse" in largest.sentence


def test_all_tasks_at_once(archive: Archive) -> None:
    answer = benchmark_curves(archive, runs="pythia-*", task="*")

    # 8 main models x 27 checkpoints x 65 tasks with an accuracy, and two continued ones with fewer
    assert answer.table.filter(pc.equal(answer.table["run"], "pythia-70m")).num_rows == 27 * 65
    fallen = [(r["run"], r["task"]) for r in answer.summary.to_pylist() if r["declined"]]  # type: ignore[union-attr]
    assert {run for run, task in fallen if task == "lambada_openai"} == {
        "pythia-70m",
        "pythia-70m-deduped",
        "pythia-160m",
        "pythia-160m-deduped",
    }


MAIN = [f"pythia-{size}" for size in ("70m", "160m", "410m", "1.4b", "2.8b")]
MAIN += [f"pythia-{size}-deduped" for size in ("70m", "160m", "410m")]


def test_no_small_model_is_shown_to_beat_a_larger_one_but_on_one_exam(archive: Archive) -> None:
    zero = smaller_beats_larger(archive, runs=MAIN)
    five = smaller_beats_larger(archive, runs=MAIN, shots=5)

    assert zero.table.num_rows == 25 * 65
    assert zero.verdict == "unresolved"
    assert {r["task"] for r in five.table.to_pylist() if r["found"]} <= {
        "hendrycksTest-professional_medicine"
    }


def test_equal_models_with_the_published_standard_errors_yield_few_finds(archive: Archive) -> None:
    table = smaller_beats_larger(archive, runs=MAIN).table
    rows = table.to_pylist()
    runs, tasks = sorted(MAIN), sorted({r["task"] for r in rows})
    published = benchmark_curves(archive, runs=MAIN, task="*").summary.to_pylist()  # type: ignore[union-attr]
    ses = np.full((len(tasks), len(runs)), np.nan)
    for r in published:
        ses[tasks.index(r["task"]), runs.index(r["run"])] = r["final_se"]
    pairs = sorted({(runs.index(r["smaller"]), runs.index(r["larger"])) for r in rows})
    smaller, larger = np.array(pairs).T
    rng = np.random.default_rng(0)
    finds = 0
    for _ in range(1000):
        values = ses * rng.standard_normal(ses.shape)
        errors = null_errors(0, 0, ses[:, smaller], ses[:, larger], shares=False)
        finds += bool((holm(one_sided(values[:, smaller] - values[:, larger], errors).ravel()) < ALPHA).any())

    assert finds <= 50


def test_larger_models_rank_better_on_tasks_they_can_do(archive: Archive) -> None:
    tasks = ("lambada_openai", "sciq", "piqa", "arc_easy", "winogrande", "arc_challenge", "logiqa")
    answer = rank_models(archive, runs=MAIN, tasks=tasks)
    order = [r["run"] for r in answer.summary.to_pylist()]  # type: ignore[union-attr]

    assert order[:2] == ["pythia-2.8b", "pythia-1.4b"]
    assert answer.p_value < 1e-3


@pytest.mark.parametrize("run", ["pythia-160m", "pythia-1.4b"])
def test_indirect_objects_are_half_there_where_an_independent_script_says(
    more: Archive, refdata: Path, run: str
) -> None:
    fact = json.loads((refdata / "open-facts.json").read_text())["ioi_open"][run]
    answer = benchmark_curves(more, runs=run, task="ioi", metric="logit_difference")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert row["half_step"] == fact["first_ge_half_final"]
    assert [row["final_step"], row["final"]] == fact["final"]
    assert [row["best_step"], row["best"]] == fact["max"]
    assert row["n_checkpoints"] == fact["distinct_steps"]


def test_early_losses_of_repeated_runs_tell_the_final_one(more: Archive, refdata: Path) -> None:
    facts = json.loads((refdata / "open-facts.json").read_text())["nanogpt_open"]
    for folder, fact in facts.items():
        answer = early_prediction(more, runs=f"*{folder}*", part="validation")
        rows = answer.table.to_pylist()
        (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

        assert (summary["n_runs"], len(rows)) == (fact["runs"], fact["points"])
        assert summary["final_mean"] == pytest.approx(fact["final_mean"])
        assert summary["final_sd"] == pytest.approx(fact["final_sd_n1"])
        assert rows[0]["pearson"] is fact["pearson_point_vs_final"][0] is None
        assert [r["pearson"] for r in rows[1:]] == pytest.approx(fact["pearson_point_vs_final"][1:])
        assert (rows[0]["sd"], rows[0]["why"]) == (0.0, "all runs, or all but one, have the same value there")


def test_repeats_of_one_program_keep_to_one_path(more: Archive) -> None:
    answer = divergent_runs(more, runs="source:modded-nanogpt", part="validation")

    assert answer.n_runs == 38
    assert set(answer.table["status"].to_pylist()) == {"stays"}


def test_a_seed_that_never_learns_is_no_part_of_the_path(archive: Archive) -> None:
    answer = divergent_runs(
        archive, runs="condition:*capA_S5_adamw_d256*", measure="log.accuracy", part="test"
    )

    # three seeds are too few to say which of them is odd
    assert set(answer.table["status"].to_pylist()) == {"not judged"}


def test_universal_neurons_are_as_many_as_the_authors_list(
    refdata: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    database = tmp_path_factory.mktemp("universal") / "universal.duckdb"
    import_results(database, refdata / "universal-neurons", format_name="universal-neurons")
    answer = universal_neurons(Archive(database))
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["run"], row["n_universal"], row["n_neurons"]) == ("stanford-gpt2-small-a", 1533, 36_864)
    assert answer.estimate == pytest.approx(0.0416, abs=5e-5)
    # the mean of the file's column and its largest, read with another program
    assert row["excess"] == pytest.approx(0.5873655365296808, abs=1e-6)
    assert answer.table["neuron"][0].as_py() == "L0N2436"
    assert answer.table["excess"][0].as_py() == pytest.approx(0.8212, abs=5e-5)
    # the means of all neurons that the file has, of the same columns
    means = {r["statistic"]: r["universal"] for r in answer.traits.to_pylist()}
    assert means["skew"] == pytest.approx(0.95, abs=5e-3)
    assert means["kurtosis"] == pytest.approx(7.19, abs=5e-3)
    # the other difference in use, in another file of the same model
    least = universal_neurons(
        Archive(database),
        params='{"subset": "high_excess_correlation", "formula": "min_corr - max_baseline"}',
    )
    assert least.summary["n_universal"].to_pylist() == [497]  # type: ignore[index]
    assert any("lower than the usual" in line for line in least.limits)
