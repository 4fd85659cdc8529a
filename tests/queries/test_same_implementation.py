"""same_implementation: roles planted at one depth in models of several sizes and tokenizers, roles moved, and roles at random."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Encoding, Measure, Quantity
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.reading.roles import SCORES
from queries.same_implementation import same_implementation
from tests.queries.language import IOI, IOI_OTHERWISE, REPEATED, cell, head_score, head_scores
from tests.queries.simulated import Simulation, measure

HEADS = 6
MOVER = {"dla": 2.0, "end_to_io": 0.6, "ablation": -1.5}
INHIBITOR = {"end_to_s2": 0.55, "ablation": -0.9}
NEEDED = ("dla", "end_to_io", "end_to_s2", "ablation")


def plant(
    s: Simulation,
    run: str,
    n_layers: int,
    roles: Sequence[tuple[int, int, Mapping[str, float]]],
    *,
    prompts: Encoding = IOI,
    step: int = 100,
    without: Sequence[str] = (),
    se: float | None = 0.02,
) -> None:
    """Heads (layer, head, scores) on a background at chance."""
    values = {
        name: np.full((n_layers, HEADS), 0.05 if SCORES[name].on == "prompts" and "_to_" in name else 0.0)
        for name in NEEDED
        if name not in without
    }
    for layer, head, scores in roles:
        for name, value in scores.items():
            if name in values:
                values[name][layer, head] = value
    head_scores(s, run, step, values, se=se, prompts=prompts)


def named(name: str) -> Measure:
    return measure(name, "fact_head", scope="head", unit="1", direction="neither")


def circuit(
    n_layers: int, rng: np.random.Generator, *, movers: float = 1.0
) -> list[tuple[int, int, Mapping[str, float]]]:
    """Two movers at that relative depth and an inhibitor in the middle, at heads of any number."""
    at, middle = round(movers * (n_layers - 1)), (n_layers - 1) // 2
    first, second = rng.permutation(HEADS)[:2].tolist()
    return [(at, first, MOVER), (at, second, MOVER), (middle, int(rng.integers(HEADS)), INHIBITOR)]


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """gpt: three seeds; other: two sizes with another tokenizer; moved: movers in the first layer; lacking: no mover."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("implementations"))
    rng = np.random.default_rng(0)
    for k in range(3):
        plant(s, s.run(f"gpt{k}", family="gpt", init_seed=k), 5, circuit(5, rng))
    for k, n_layers in enumerate((5, 9)):
        run = s.run(f"opt{k}", family="opt", condition=f"opt {n_layers}")
        plant(s, run, n_layers, circuit(n_layers, rng), prompts=IOI_OTHERWISE)
    plant(s, s.run("moved", family="gpt", condition="moved"), 5, circuit(5, rng, movers=0.0))
    plant(s, s.run("lacking", family="gpt", condition="lacking"), 5, circuit(5, rng)[2:])
    for k in range(3):
        plant(s, s.run(f"seen{k}", family="gpt", condition="seen"), 5, circuit(5, rng), without=("ablation",))
    plant(s, s.run("flat", family="gpt", condition="flat"), 1, [(0, 1, MOVER)])
    plant(s, s.run("exact", family="gpt", condition="exact"), 5, circuit(5, rng), se=None)
    return s.commit()


def test_roles_at_one_depth_are_the_same_implementation_across_families_and_tokenizers(
    archive: Archive,
) -> None:
    answer = same_implementation(archive, runs=["gpt*", "opt*"])
    roles = {r["role"]: r for r in answer.table.to_pylist()}
    mover = roles["name_mover"]

    assert answer.verdict == "yes"
    assert (mover["n_with"], mover["n_runs"], mover["n_heads"], mover["verdict"]) == (5, 5, 2, "yes")
    assert (mover["share_low"], mover["share_high"]) == pytest.approx((0.478, 1), abs=1e-3)
    assert (mover["depth_least"], mover["depth_most"], mover["depth_distance"]) == (1, 1, 0)
    # 2 · 1.5 of 3.9
    assert mover["effect_share"] == pytest.approx(3 / 3.9)
    assert roles["s_inhibition"]["effect_share"] == pytest.approx(0.9 / 3.9)
    assert roles["negative_name_mover"]["verdict"] is None
    assert answer.estimate < 0.05
    assert answer.p_value < 0.01
    assert answer.null_mean > 0.3
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    assert (summary["n_families"], summary["n_tokenizers"], summary["effect"]) == (2, 2, "ablation")
    assert summary["floor"] < 0.05
    assert "all 5 have name_mover heads at depth 1, 77% of the effect" in answer.sentence
    assert any("2 tokenizers" in line for line in answer.limits)
    assert any("no half of the prompts" in line for line in answer.limits)


def test_a_role_elsewhere_or_missing_in_one_run_is_no(archive: Archive) -> None:
    moved = same_implementation(archive, runs=["gpt*", "moved"], tolerance=0.05)
    lacking = same_implementation(archive, runs=["gpt*", "lacking"])
    mover = lacking.table.to_pylist()[0]

    assert moved.verdict != "yes"
    assert moved.table["depth_distance"][0].as_py() == pytest.approx(0.5)
    assert (lacking.verdict, mover["role"], mover["verdict"]) == ("no", "name_mover", "no")
    assert (mover["n_with"], mover["n_without"]) == (3, 1)
    row = next(r for r in lacking.pairs.to_pylist() if r["run_b"] == "lacking" or r["run_a"] == "lacking")
    assert (row["shared_roles"], row["roles_of_one"]) == ("s_inhibition", "name_mover")


def test_roles_at_every_depth_are_no_common_implementation(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    for k, run in enumerate(simulation.seeds(6)):
        plant(simulation, run, 5, circuit(5, rng, movers=float(k % 2)))
    answer = same_implementation(simulation.commit())

    assert answer.verdict == "no"
    assert answer.table["depth_low"][0].as_py() > 0.15


def test_without_causal_effects_there_is_no_verdict(archive: Archive) -> None:
    for asked in ({"runs": "seen*"}, {"runs": "gpt*", "effect": "attribution"}):
        answer = same_implementation(archive, **asked)  # type: ignore[arg-type]
        assert answer.verdict == "unresolved"
        assert answer.effect == "attribution"
        assert set(answer.table["verdict"].to_pylist()) <= {"unresolved", None}
        assert any("--fill head.ablation_effect:mean" in line for line in answer.limits)
    mixed = same_implementation(archive, runs=["gpt*", "seen0"], role="name_mover")
    assert mixed.verdict == "unresolved"
    assert any("1 run lack head.ablation_effect:mean (first: seen0)" in line for line in mixed.limits)
    patched = same_implementation(archive, runs="gpt*", effect="patching")
    assert (patched.effect, patched.verdict) == ("", "unresolved")
    assert any("no effect of any head is measured" in line for line in patched.limits)


def test_few_runs_flat_models_and_missing_errors_are_said_so(archive: Archive) -> None:
    pair = same_implementation(archive, runs=["gpt0", "gpt1"])
    assert (pair.verdict, pair.n_runs) == ("unresolved", 2)
    assert any("fewer than 3" in line for line in pair.limits)
    with pytest.raises(UsageError, match=r"1 run \(gpt0\) has these scores"):
        same_implementation(archive, runs="gpt0")
    flat = same_implementation(archive, runs=["gpt*", "flat"], role="name_mover")
    assert any("A model of one layer has no depth" in line for line in flat.limits)
    exact = same_implementation(archive, runs=["gpt*", "exact"], role="name_mover")
    assert exact.table["n_unresolved"].to_pylist() == [1]
    assert exact.verdict == "unresolved"
    with pytest.raises(UsageError, match="at step 50"):
        same_implementation(archive, runs="gpt*", step=50)


def test_eval_sets_that_differ_otherwise_are_refused(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    other = IOI.model_copy(update={"hash": "ioi again"})
    for k, prompts in enumerate((IOI, other)):
        plant(simulation, simulation.run(f"a{k}"), 5, circuit(5, rng), prompts=prompts)
    with pytest.raises(NotComparable, match="differs in eval set"):
        same_implementation(simulation.commit())


def test_other_tokenizers_may_lack_a_role_or_all_of_them(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for run in simulation.seeds(3):
        plant(simulation, run, 5, circuit(5, rng))
    lacking = ("end_to_s2", "ablation")
    plant(simulation, simulation.run("opt"), 5, circuit(5, rng), prompts=IOI_OTHERWISE, without=lacking)
    archive = simulation.commit()
    answer = same_implementation(archive)
    roles = {r["role"]: (r["n_with"], r["n_runs"]) for r in answer.table.to_pylist()}

    assert (roles["name_mover"], roles["s_inhibition"]) == ((4, 4), (3, 3))
    assert (answer.n_runs, answer.verdict) == (4, "unresolved")
    assert any("1 run lack head.ablation_effect:mean (first: opt)" in line for line in answer.limits)
    only = same_implementation(archive, role="s_inhibition")
    assert only.n_runs == 3
    assert any("1 run(s) asked for have no such measure (first: opt)" in line for line in only.limits)


def test_other_causal_effects_decide_too(simulation: Simulation) -> None:
    """On repeated tokens the ablation of their own measure; on prompts patching, where it is asked for."""
    rng = np.random.default_rng(0)
    ablated = {"kind": "mean", "patterns": "recomputed", "metric": "later_copies_loss"}
    on_repeats = Quantity(measure=named("head.ablation_effect"), encoding=REPEATED, params=ablated)
    on_prompts = Quantity(measure=named("head.patch_recovery"), encoding=IOI, params={"patch": "denoise"})
    for run in simulation.seeds(3):
        roles = circuit(5, rng)
        plant(simulation, run, 5, roles, without=("ablation",))
        heads = np.zeros((5, HEADS))
        for layer, head, _ in roles:
            heads[layer, head] = 0.8
        scores = np.where(heads > 0, 0.9, 0.02)
        head_scores(simulation, run, 100, {"prefix_matching": scores, "duplicate_token": scores * 0 + 0.02})
        for quantity in (on_repeats, on_prompts):
            cell(simulation, run, quantity, 100)
            simulation.heads(run, 100, heads, quantity=quantity, se=0.01, chance=0.0, n_items=100)
    archive = simulation.commit()
    induction = same_implementation(archive, task="induction", role="induction")
    patched = same_implementation(archive, role="name_mover", effect="patching")

    assert (induction.effect, induction.verdict) == ("ablation", "yes")
    assert induction.table["effect_share"].to_pylist() == pytest.approx([1.0])
    assert (patched.effect, patched.verdict) == ("patching", "yes")
    assert patched.table["effect_share"].to_pylist() == pytest.approx([2 / 3])
    assert same_implementation(archive, role="name_mover").verdict == "unresolved"


def test_excluded_runs_stay_out_and_are_named(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for run in simulation.seeds(4):
        plant(simulation, run, 5, circuit(5, rng))
    archive = simulation.commit()
    exclude(archive.layout, "s3", "planted defect")
    answer = same_implementation(archive)

    assert set(answer.per_run["run"].to_pylist()) == {"s0", "s1", "s2"}
    assert any("1 excluded run(s) left out" in line for line in answer.limits)


def test_suspect_checkpoints_are_left_out(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for run in simulation.seeds(3):
        plant(simulation, run, 5, circuit(5, rng))
        for name in NEEDED:
            quantity = head_score(name)
            owner, q = simulation._cell(run, quantity, 200, {"integrity": "defect"})
            layers, heads = np.indices((5, HEADS)).reshape(2, -1)
            simulation.builder.add("fact_head", owner, q, layer=layers, head=heads, value=np.ones(5 * HEADS))
    answer = same_implementation(simulation.commit())

    assert set(answer.per_run["step"].to_pylist()) == {100}
    assert any("left out as suspect" in line for line in answer.limits)


def test_a_head_is_named_by_its_layer_and_number_and_drawn(archive: Archive) -> None:
    answer = same_implementation(archive, runs="gpt*", role="s_inhibition")
    rows = answer.per_run.to_pylist()

    assert all(r["heads"].startswith("L2H") and r["layer_depth_frac"] == 0.5 for r in rows)
    figure = answer.plot()
    assert [trace.name for trace in figure.data] == ["s_inhibition"]
    assert list(figure.data[0].x) == [0.5] * 3
