"""component_change: planted categories, yardstick, lineages, refusals, and the null over runs."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Part
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.component_change import component_change
from tests.queries.language import LOGIT_PARTS, RHYMES, cell, head_score, head_scores
from tests.queries.signatures import signatures
from tests.queries.simulated import LOSS_HERE, TEST, Simulation, kept_open

# (layer, head): reweighted, unchanged / new, rewired
BEFORE = np.array([[0.5, 0.4], [0.0, 0.6]])
AFTER = np.array([[1.0, 0.41], [0.7, 1.1]])
SAME = np.random.default_rng(5).normal(size=(2, 2, 30))
OTHER = np.random.default_rng(6).normal(size=(2, 2, 30))


def looks(turned: bool) -> np.ndarray:
    """Signatures, the last head's another one where turned."""
    found = SAME.copy()
    if turned:
        found[1, 1] = OTHER[1, 1]
    return found


def parts(s: Simulation, run: str, step: int, mlp: float, heads: np.ndarray) -> None:
    cell(s, run, LOGIT_PARTS, step)
    named = {
        "embedding": 0.2,
        "L0 attention": heads[0].sum(),
        "L0 mlp": mlp,
        "total": heads.sum() + 0.2 + mlp,
    }
    s.scalar(
        run,
        LOGIT_PARTS,
        step,
        {Part(kind="component", name=name): float(value) for name, value in named.items()},
        se=0.01,
        n_items=100,
    )


def lineage(s: Simulation, *, se: float = 0.01, name: str = "dla", init_hash: str = "") -> None:
    s.run("base", init_seed=0, init_hash=init_hash)
    s.run("tuned", parent_run="base", condition="tuned")
    for step, heads in ((0, BEFORE * 0.1), (80, BEFORE + 0.02), (100, BEFORE)):
        head_scores(s, "base", step, {name: heads}, se=se)
        signatures(s, "base", step, looks(False))
        parts(s, "base", step, 0.3, heads)
    head_scores(s, "tuned", 7, {name: AFTER}, se=se)
    signatures(s, "tuned", 7, looks(True))
    parts(s, "tuned", 7, 0.8, AFTER)


def planted(simulation: Simulation) -> Archive:
    lineage(simulation)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def categories(answer: object) -> dict[str, str]:
    return {r["component"]: r["category"] for r in answer.table.to_pylist()}  # type: ignore[attr-defined]


def test_every_component_gets_its_planted_category(archive: Archive) -> None:
    answer = component_change(archive, run_a="base", run_b="tuned")
    assert categories(answer) == {
        "L0H0": "reweighted",
        "L0H1": "unchanged",
        "L1H0": "new",
        "L1H1": "rewired",
        "L0 mlp": "changed",
        "L0 attention": "changed",
        "embedding": "unchanged",
    }
    rows = {r["component"]: r for r in answer.table.to_pylist()}
    first = rows["L0H0"]
    assert (first["effect_before"], first["effect_after"]) == (pytest.approx(0.5), pytest.approx(1.0))
    assert first["se"] == pytest.approx(math.hypot(0.01, 0.01))
    assert first["similarity"] == pytest.approx(1.0)
    assert first["share_before"] == pytest.approx(0.5 / 2.0)
    assert first["share_after"] == pytest.approx(1.0 / (AFTER.sum() + 1.0))
    assert abs(rows["L1H1"]["similarity"]) < 0.6
    assert not rows["L0 attention"]["counted"]  # the sum of its heads
    assert (answer.verdict, answer.n_runs) == ("yes", 2)

    (pair,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    change = np.array([0.5, 0.01, 0.7, 0.5, 0.5, 0.0])  # heads, mlp, embedding
    assert pair["n_components"] == 6
    assert pair["participation"] == pytest.approx(change.sum() ** 2 / (change**2).sum(), rel=1e-3)
    assert pair["top"].split()[0] == "L1H0"
    kept = 0.5**2 + 0.01**2 + 0.7**2
    assert pair["kept_share"] == pytest.approx(kept / (kept + 0.5**2), abs=0.01)
    assert (pair["total_before"], pair["total_after"]) == (pytest.approx(2.0), pytest.approx(AFTER.sum() + 1))
    assert any("final LayerNorm scale" in line and "share_before" in line for line in answer.limits)
    assert any("tuned goes on from base" in line for line in answer.limits)


def test_the_yardstick_is_the_last_two_checkpoints_of_the_base(archive: Archive) -> None:
    answer = component_change(archive, run_a="base", run_b="tuned")
    (pair,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    assert (pair["near_step_a"], pair["near_step_b"], pair["near_changed"]) == (80, 100, 0)
    assert pair["near_rms_change"] == pytest.approx(0.02 * math.sqrt(4 / 6), rel=1e-3)
    assert {(r["step_a"], r["step_b"]) for r in answer.yardstick.to_pylist()} == {(80, 100)}
    earlier = component_change(archive, run_a="base", step_a=80, run_b="tuned").summary.to_pylist()  # type: ignore[union-attr]
    assert (earlier[0]["near_step_a"], earlier[0]["near_step_b"]) == (0, 80)
    itself = component_change(archive, runs="base", step_a=80).summary.to_pylist()  # type: ignore[union-attr]
    assert (itself[0]["near_step_a"], itself[0]["near_step_b"]) == (0, 80)  # not the pair that is asked about


def test_without_signatures_what_changed_is_called_so(simulation: Simulation) -> None:
    s = simulation
    s.run("base")
    s.run("tuned", parent_run="base")
    head_scores(s, "base", 100, {"ablation": BEFORE}, se=0.01)
    head_scores(s, "tuned", 7, {"ablation": AFTER}, se=0.01)
    answer = component_change(s.commit(), run_a="base", run_b="tuned")
    assert categories(answer) == {"L0H0": "changed", "L0H1": "unchanged", "L1H0": "new", "L1H1": "changed"}
    assert "mean ablation" in answer.label
    said = " ".join(answer.limits)
    assert "No signatures of heads" in said
    assert "1 run without two adjacent checkpoints" in said


def test_ablation_comes_before_direct_effects(simulation: Simulation) -> None:
    lineage(simulation, name="ablation")
    for run, step, heads in (("base", 100, BEFORE), ("tuned", 7, AFTER * 2)):
        head_scores(simulation, run, step, {"dla": heads})
    both = simulation.commit()
    assert component_change(both, run_a="base", run_b="tuned").label.startswith(
        "change of the logit difference"
    )
    direct = component_change(both, run_a="base", run_b="tuned", effect="attribution")
    assert "direct effect" in direct.label
    assert {r["kind"] for r in direct.table.to_pylist()} == {"head", "mlp", "attention", "embedding"}
    with pytest.raises(UsageError, match=r"no head\.ablation_effect with eval_set='rhymes'"):
        component_change(both, run_a="base", run_b="tuned", eval_set="rhymes")
    assert component_change(both, run_a="base", run_b="tuned", eval_set="ioi").n_runs == 2


def test_only_one_lineage_is_compared(simulation: Simulation) -> None:
    s = simulation
    lineage(s)
    s.run("child", parent_run="tuned")
    s.run("grandchild", parent_run="child")
    s.run("cousin", parent_run="base")
    s.run("other", init_hash="y")
    s.run("stranger", parent_run="run nobody has")
    for run in ("grandchild", "cousin", "other", "stranger"):
        head_scores(s, run, 9, {"dla": AFTER}, se=0.01)
    every = s.commit()
    exclude(every.layout, "child", "only a link")  # a link of the chain all the same
    for a, b, why in (
        ("base", "grandchild", "grandchild goes on from base, by way of child and tuned"),
        ("grandchild", "base", "grandchild goes on from base"),
        ("grandchild", "cousin", "both descend from base"),
    ):
        found = component_change(every, run_a=a, run_b=b)
        assert any(why in line for line in found.limits), found.limits
    for a, b in (("base", "other"), ("base", "stranger")):
        with pytest.raises(NotComparable, match=f"{a} and {b} are not of one lineage.*match_heads"):
            component_change(every, run_a=a, run_b=b)


def test_several_tuned_runs_of_one_base_give_an_interval_over_runs(simulation: Simulation) -> None:
    s = simulation
    lineage(s)
    for k in range(3):
        s.run(f"tuned-{k}", parent_run="base", condition="tuned", init_seed=None)
        head_scores(s, f"tuned-{k}", 7, {"dla": AFTER + 0.05 * k}, se=0.01)
        signatures(s, f"tuned-{k}", 7, looks(True))
    answer = component_change(s.commit(), runs="tuned*", run_a="base")
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]
    assert len(rows) == 4
    assert answer.estimate == pytest.approx(np.mean([r["participation"] for r in rows]))
    assert answer.ci_low < answer.estimate < answer.ci_high
    assert "4 pairs of checkpoints" in answer.sentence


def test_a_step_that_is_not_there_is_named(archive: Archive) -> None:
    with pytest.raises(
        UsageError, match=r"no checkpoint with head\.logit_attribution at step 99; the nearest steps are 100"
    ):
        component_change(archive, run_a="base", step_a=99, run_b="tuned")
    with pytest.raises(UsageError, match="same checkpoint"):
        component_change(archive, runs="tuned")


def test_two_eval_sets_have_to_be_told_apart(simulation: Simulation) -> None:
    lineage(simulation)
    for run, step in (("base", 100), ("tuned", 7)):
        head_scores(simulation, run, step, {"dla": BEFORE}, prompts=RHYMES)
    both = simulation.commit()
    with pytest.raises(NotComparable, match=r"eval set.*Choose one"):
        component_change(both, run_a="base", run_b="tuned")
    assert component_change(both, run_a="base", run_b="tuned", eval_set="ioi").verdict == "yes"


def test_suspect_checkpoints_stay_out(simulation: Simulation) -> None:
    s = simulation
    s.run("base")
    s.run("tuned", parent_run="base")
    head_scores(s, "base", 90, {"dla": BEFORE}, se=0.01)
    owner, q = s._cell("base", head_score("dla"), 100, {"integrity": "defect", "integrity_note": "zeros"})
    s.builder.add("fact_head", owner, q, layer=[0, 0], head=[0, 1], value=0.0, se=0.01)
    head_scores(s, "tuned", 7, {"dla": AFTER}, se=0.01)
    answer = component_change(s.commit(), run_a="base", run_b="tuned")
    assert answer.summary.to_pylist()[0]["step_a"] == 90  # type: ignore[union-attr]
    assert any("left out as suspect (defect)" in line for line in answer.limits)


def test_what_has_no_error_or_no_number_is_not_called_changed(simulation: Simulation) -> None:
    s = simulation
    s.run("base")
    s.run("tuned", parent_run="base")
    broken = BEFORE.copy()
    broken[0, 0] = math.nan
    head_scores(s, "base", 100, {"dla": BEFORE}, se=None)
    head_scores(s, "tuned", 7, {"dla": broken + 1.0}, se=None)
    answer = component_change(s.commit(), run_a="base", run_b="tuned")
    assert set(categories(answer).values()) == {"unresolved"}
    assert "L0H0" not in categories(answer)
    assert answer.verdict == "unresolved"
    assert any("3 of 3 components have no standard error" in line for line in answer.limits)
    assert any("1 component that only one" in line for line in answer.limits)


def test_all_that_stays_is_a_no_and_noise_is_open(simulation: Simulation) -> None:
    s = simulation
    s.run("base")
    for name, se in (("kept", 0.001), ("noisy", 0.5)):
        s.run(name, parent_run="base")
        head_scores(s, name, 7, {"dla": BEFORE + 0.001}, se=se)
    head_scores(s, "base", 100, {"dla": BEFORE}, se=0.001)
    archive = s.commit()
    assert component_change(archive, run_a="base", run_b="kept").verdict == "no"
    assert component_change(archive, run_a="base", run_b="noisy").verdict == "unresolved"


def test_the_null_of_runs_that_only_their_errors_move(simulation: Simulation) -> None:
    """100 tuned runs with the base's effects: of 20 heads hardly any is called changed in hardly any run."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(4, 5))
    s = simulation
    s.run("base")
    head_scores(s, "base", 1, {"dla": effects + 0.1 * rng.normal(size=(4, 5))}, se=0.1)
    for k in range(100):
        s.run(f"t{k}", parent_run="base", condition="tuned")
        head_scores(s, f"t{k}", 1, {"dla": effects + 0.1 * rng.normal(size=(4, 5))}, se=0.1)
    archive = s.commit()
    wrong = 0
    for start in range(0, 100, 10):
        found = component_change(archive, run_a="base", runs=[f"t{k}" for k in range(start, start + 10)])
        wrong += sum(r["verdict"] == "yes" for r in found.summary.to_pylist())  # type: ignore[union-attr]
    assert wrong <= 12


def test_the_figure_has_a_symbol_and_a_colour_for_each_category(archive: Archive) -> None:
    answer = component_change(archive, run_a="base", run_b="tuned")
    figure = answer.plot()
    drawn = {trace.name: trace for trace in figure.data if trace.name}
    assert {name.split(" (")[0] for name in drawn} == {
        "reweighted", "rewired", "new", "changed", "unchanged", "between adjacent late checkpoints",
    }  # fmt: skip
    looks_like = [(t.marker.symbol, t.marker.color) for n, t in drawn.items() if "(" in n]
    assert len(set(looks_like)) == len(looks_like)
    assert "participation" in str(answer)


def test_without_effects_both_kinds_that_would_do_are_named(simulation: Simulation) -> None:
    run = simulation.run("base")
    simulation.scalar(run, LOSS_HERE, 1, {TEST: 1.0})
    archive = simulation.commit()
    with pytest.raises(UsageError, match=r"--fill head.ablation_effect.*--fill head.logit_attribution"):
        component_change(archive)
