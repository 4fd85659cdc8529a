"""Questions to published results, judged by what their authors or independent scripts say."""

import json
from pathlib import Path

import numpy as np
import pytest

from archive.store import Archive
from ingest.importers.importing import import_results
from queries.benchmark_curves import benchmark_curves
from queries.head_score_history import head_score_history
from queries.head_scores import head_scores
from queries.transition_times import transition_times

pytestmark = [pytest.mark.refdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def archive(refdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    database = tmp_path_factory.mktemp("published") / "published.duckdb"
    import_results(database, refdata / "muon-grokking", format_name="grokking-logs")
    import_results(database, refdata / "head-scores", format_name="head-scores")
    import_results(database, refdata / "pythia" / "evals" / "pythia-v1", format_name="lm-eval")
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
    best = {r["run"]: (r["best"], r["best_step"]) for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert best == {
        "pythia-70m": (0.25344459538133124, 53_000),
        "pythia-160m": (0.39918494081117795, 63_000),
    }
    assert "2 of them end more than 2 standard errors behind" in answer.sentence
