"""Means over runs measured on the same documents: a slow twin, closed forms, coverage, and verdicts both ways."""

import math

import numpy as np
import pytest
from scipy import stats

from queries.stats.clusters import cluster_mean
from queries.stats.runs_and_clusters import TwoWayMean, signs, two_way_mean
from tests.calibration.finetuning import MARGIN, SPREADS, wrong_verdicts


def cells(values: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(run, document) sums and counts of values (run, item)."""
    n = documents.max() + 1
    sums = np.array([np.bincount(documents, weights=row, minlength=n) for row in values])
    return sums, np.tile(np.bincount(documents, minlength=n).astype(float), (len(values), 1))


def leaving_out(values: np.ndarray, documents: np.ndarray) -> float:
    """The slow way: the mean over runs without each document."""
    names = np.unique(documents)
    means = np.array([values[:, documents != d].mean(1).mean() for d in names])
    k = len(names)
    return math.sqrt((k - 1) / k * float(((means - values.mean(1).mean()) ** 2).sum()))


def test_one_run_is_a_mean_over_documents() -> None:
    rng = np.random.default_rng(0)
    documents = rng.integers(0, 9, 60)
    values = rng.normal(size=(1, 60))
    found = two_way_mean(*cells(values, documents))
    assert found.mean == pytest.approx(values.mean())
    assert found.se_clusters == pytest.approx(leaving_out(values, documents))
    half = stats.t.ppf(0.975, 8) * found.se_clusters
    assert found.interval(0.95) == (pytest.approx(found.mean - half), pytest.approx(found.mean + half))
    assert math.isnan(found.se_runs)


def test_documents_of_equal_length_give_the_usual_error() -> None:
    values = np.random.default_rng(4).normal(size=(1, 60))
    documents = np.arange(60) % 10
    found = two_way_mean(*cells(values, documents))
    assert found.se_clusters == pytest.approx(cluster_mean(values[0], documents)[3])


def test_several_runs_add_the_squares_of_two_half_widths() -> None:
    rng = np.random.default_rng(1)
    documents = rng.integers(0, 9, 60)
    values = rng.normal(size=(4, 60)) + rng.normal(size=(4, 1))
    found = two_way_mean(*cells(values, documents))
    of_runs = stats.sem(values.mean(1))
    of_documents = leaving_out(values, documents)
    assert (found.se_runs, found.se_clusters) == (pytest.approx(of_runs), pytest.approx(of_documents))
    low, high = found.interval(0.9)
    half = math.hypot(stats.t.ppf(0.95, 3) * of_runs, stats.t.ppf(0.95, 8) * of_documents)
    assert (low, high) == (pytest.approx(found.mean - half), pytest.approx(found.mean + half))
    assert found.detectable(0.9) > half


def test_what_cannot_be_known_is_not_told() -> None:
    one_document = two_way_mean(np.array([[1.0], [2.0]]), np.array([[4.0], [4.0]]))
    assert one_document.mean == pytest.approx(0.375)
    assert math.isnan(one_document.se_clusters)
    assert math.isnan(one_document.detectable(0.95))
    assert all(map(math.isnan, one_document.interval(0.95)))
    same = two_way_mean(np.array([[2.0, 4.0], [2.0, 4.0]]), np.array([[2.0, 4.0], [2.0, 4.0]]))
    assert same.interval(0.95) == (1.0, 1.0)


def held(n_runs: int, n_documents: int, run_sd: float, document_sd: float, replicates: int) -> float:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(replicates):
        sizes = rng.integers(5, 40, n_documents)
        documents = np.arange(n_documents).repeat(sizes)
        of_documents = rng.normal(size=n_documents) * document_sd
        own = rng.normal(size=(n_runs, n_documents)) * document_sd / 2
        values = (
            0.2
            + run_sd * rng.normal(size=(n_runs, 1))
            + (of_documents + own)[:, documents]
            + rng.normal(size=(n_runs, len(documents)))
        )
        low, high = two_way_mean(*cells(values, documents)).interval(0.95)
        inside += low <= 0.2 <= high
    return inside / replicates


@pytest.mark.parametrize(
    ("n_runs", "n_documents", "run_sd", "document_sd"),
    [(1, 20, 0.0, 0.3), (2, 20, 0.3, 0.1), (3, 20, 0.3, 0.1), (5, 20, 0.1, 0.3), (5, 10, 0.02, 0.5)],
)
def test_intervals_hold_the_truth(n_runs: int, n_documents: int, run_sd: float, document_sd: float) -> None:
    assert held(n_runs, n_documents, run_sd, document_sd, 300) >= 0.92


def known(mean: float, se: float) -> TwoWayMean:
    return TwoWayMean(mean, math.nan, se, 1, 1001)


def test_each_way_is_judged_against_the_margin() -> None:
    margin = 0.02
    assert signs([known(0.5, 0.01)], margin, 0.95) == [("yes", "no")]
    assert signs([known(-0.5, 0.01)], margin, 0.95) == [("no", "yes")]
    assert signs([known(0.0, 0.001)], margin, 0.95) == [("no", "no")]
    assert signs([known(0.01, 0.01)], margin, 0.95) == [("unresolved", "no")]
    assert signs([known(0.0, 1.0)], margin, 0.95) == [("unresolved", "unresolved")]
    assert signs([known(0.5, math.nan)], margin, 0.95) == [("unresolved", "unresolved")]


def test_verdicts_hold_for_all_eval_sets_together() -> None:
    barely = known(0.021, 0.01)
    assert signs([barely], 0.02, 0.95)[0][0] == "yes"
    assert signs([barely, known(0.0, 1.0), known(0.0, 1.0)], 0.02, 0.95)[0][0] == "unresolved"


@pytest.mark.parametrize("n_runs", [1, 3])
def test_where_nothing_changes_hardly_any_eval_set_is_called_forgotten_or_gained(n_runs: int) -> None:
    """100 answers on 4 eval sets each: in how many any of the 8 verdicts is a yes."""
    assert wrong_verdicts(0.0, n_runs, SPREADS["documents"], 100) <= 0.12
    assert wrong_verdicts(MARGIN, n_runs, SPREADS["documents"], 100) <= 0.12


def test_losses_of_tuned_runs_are_those_of_three_bases() -> None:
    crossed = [np.arange(9) % 3, np.arange(9) // 3]
    sums = 10 * np.random.default_rng(0).normal(size=(9, 6))
    counts = np.full((9, 6), 10.0)
    found, plain = two_way_mean(sums, counts, crossed), two_way_mean(sums, counts)
    means = sums.mean(1) / 10
    halves = [
        stats.t.ppf(0.975, 2) * np.std([means[of == k].mean() for k in range(3)], ddof=1) / math.sqrt(3)
        for of in crossed
    ]
    low, high = found.interval(0.95)

    assert (high - low) / 2 == pytest.approx(math.hypot(*halves, stats.t.ppf(0.975, 5) * found.se_clusters))
    assert (found.mean, found.se_clusters) == (plain.mean, plain.se_clusters)
    assert found.interval(0.95) != plain.interval(0.95)
    assert two_way_mean(sums, counts, []) == plain
    assert math.isnan(two_way_mean(sums, counts, [np.zeros(9, int)]).interval(0.95)[0])
