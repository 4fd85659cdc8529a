"""attention_pattern_catalogue: planted patterns among all masks × heads, false ones as rarely as promised, their times."""

import numpy as np
import pytest

from archive.errors import UnknownName
from archive.records import Encoding, Quantity
from queries.attention_pattern_catalogue import attention_pattern_catalogue
from tests.queries.language import BOOKS, OTHER_TEXT, OTHER_WORDS, REPEATED, TEXT, WORDS
from tests.queries.simulated import Simulation, measure, rising

SHAPE = (2, 3)
MASKS = ("punctuation", "word_start", "bracket")
STEPS = [0, *(round(2 ** (k / 4)) for k in range(12, 45))]


def quantity(name: str, *, z: bool = False, encoding: Encoding = TEXT) -> Quantity:
    kind = "head.mask_z" if z else "head.mask"
    head = measure(kind, "fact_head", scope="head", unit="probability", direction="neither")
    return Quantity(measure=head, encoding=encoding, params={"mask": name})


PREVIOUS = Quantity(
    measure=measure(
        "head.previous_token", "fact_head", scope="head", unit="probability", direction="neither"
    ),
    encoding=REPEATED,
)


def plant(
    s: Simulation, run: str, step: int, name: str, score: np.ndarray, z: np.ndarray | None, n: int = 40
) -> None:
    s.builder.tokenizer(WORDS)
    s.builder.tokenizer(OTHER_WORDS)
    s.builder.text_set(BOOKS)
    s.heads(run, step, score, quantity=quantity(name), chance=0.2, se=0.01, n_items=40)
    if z is not None:
        s.heads(run, step, z, quantity=quantity(name, z=True), n_items=n)


def test_planted_patterns_are_found_with_their_time_and_nothing_else(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for k, run in enumerate(simulation.seeds(4)):
        rise = rising(STEPS, 100 * 1.3**k, width=0.25)
        for i, step in enumerate(STEPS):
            for name in MASKS:
                score, z = np.full(SHAPE, 0.2), rng.normal(size=SHAPE)
                if name == "punctuation":
                    score[1, 2], z[1, 2] = 0.2 + 0.7 * rise[i], 40 * rise[i]
                plant(simulation, run, step, name, score, z)
    answer = attention_pattern_catalogue(simulation.commit())
    found = [r for r in answer.table.to_pylist() if r["found"]]

    assert answer.table.num_rows == 4 * 3 * 6
    assert {(r["run"], r["mask"], r["head"]) for r in found} == {
        (f"s{k}", "punctuation", "L1H2") for k in range(4)
    }
    for k, r in enumerate(found):
        assert r["t50_after"] < 100 * 1.3**k <= r["t50"]
        assert (r["z_by"], r["class"], r["score"]) == (
            "moved targets",
            "major_transition",
            pytest.approx(0.9, abs=0.01),
        )
    rows = {r["mask"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    assert {m: rows[m]["n_with"] for m in rows} == {"bracket": 0, "punctuation": 4, "word_start": 0}
    assert rows["punctuation"]["low"] <= 100 * 1.3**1.5 <= rows["punctuation"]["high"]
    assert rows["punctuation"]["best"].startswith("L1H2")
    assert rows["bracket"]["median"] is None
    assert "punctuation in 4 of 4" in answer.sentence


def test_the_null_gives_patterns_as_rarely_as_promised(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    n_runs = 120
    for run in simulation.seeds(n_runs):
        for name in MASKS:
            plant(simulation, run, 1, name, np.full(SHAPE, 0.9), rng.standard_t(7, size=SHAPE), n=8)
    archive = simulation.commit()
    answer = attention_pattern_catalogue(archive, least_z=0, confidence=0.8)
    runs = {r["run"] for r in answer.table.to_pylist() if r["found"]}

    # Holm over 18 independent pairs: 1 − (1 − 0.2/18)^18
    assert len(runs) / n_runs == pytest.approx(0.182, abs=3 * np.sqrt(0.18 * 0.82 / n_runs))
    strict = attention_pattern_catalogue(archive)
    assert not any(strict.table["found"].to_pylist())
    assert "no head looks" in strict.sentence


def test_masks_with_a_measure_of_their_own_are_held_against_even_attention(simulation: Simulation) -> None:
    simulation.run("a")
    score = np.full(SHAPE, 0.11)
    score[0, 1], score[0, 2] = 0.9, 0.15
    plant(simulation, "a", 1, "punctuation", np.full(SHAPE, 0.2), None)
    simulation.heads("a", 1, score, quantity=PREVIOUS, chance=0.1, se=0.001, n_items=30)
    answer = attention_pattern_catalogue(simulation.commit())
    rows = {r["head"]: r for r in answer.table.to_pylist() if r["mask"] == "previous_token"}

    # z of 50 for a head that is 0.05 above chance: surely there, and not worth a pattern
    assert (rows["L0H1"]["z"], rows["L0H2"]["z"]) == pytest.approx((800, 50))
    assert [head for head, r in rows.items() if r["found"]] == ["L0H1"]
    assert rows["L0H1"]["t50"] is None
    assert {r["z_by"] for r in answer.table.to_pylist()} == {"standard error"}
    assert any("is against evenly spread attention" in line for line in answer.limits)


def test_masks_are_chosen_by_name_and_eval_sets_stand_side_by_side(simulation: Simulation) -> None:
    simulation.run("a")
    for name in MASKS:
        plant(simulation, "a", 1, name, np.full(SHAPE, 0.2), np.full(SHAPE, 50.0))
    simulation.heads(
        "a", 1, np.full(SHAPE, 0.2), quantity=quantity("bracket", encoding=OTHER_TEXT), chance=0.2, se=0.01
    )
    archive = simulation.commit()
    answer = attention_pattern_catalogue(archive, masks=("bracket",))

    assert answer.table.num_rows == 2 * 6
    # the other eval set has no z of moved targets, and does not borrow one
    assert sorted(set(answer.table["z_by"].to_pylist())) == ["moved targets", "standard error"]
    with pytest.raises(UnknownName, match="no mask 'brackets'; did you mean 'bracket'"):
        attention_pattern_catalogue(archive, masks=("brackets",))
    assert len(answer.plot().data) == 1


def test_what_has_no_z_is_not_tested(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", 1, "bracket", np.full(SHAPE, 0.9), np.full(SHAPE, np.nan))
    answer = attention_pattern_catalogue(simulation.commit())

    assert answer.table["z"].null_count == 6
    assert not any(answer.table["found"].to_pylist())
    assert any("6 pairs of head and mask have no z" in line for line in answer.limits)
