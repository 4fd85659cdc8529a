"""Questions about circuits ask for measures that exist, by the parameters that those are stored with."""

from typing import get_args

import pytest

from ingest.measure import MEASURES
from ingest.readings.asked import Metric
from queries.attention_pattern_catalogue import MASK, MASK_Z, OWN
from queries.reading.roles import SCORES, Score


@pytest.mark.parametrize("score", [pytest.param(score, id=name) for name, score in SCORES.items()])
def test_a_score_of_a_role_is_a_measure_with_these_parameters(score: Score) -> None:
    found = MEASURES.entries()[score.called].thing
    params = dict(score.params)
    # what the measure is of follows from the eval set
    metric = params.pop("metric", None)

    assert metric is None or metric in get_args(Metric)
    assert found.record.table == "fact_head"
    assert {name: found.params.get(name) for name in params} == params
    assert (found.processing == "fold_ln_center") == (score.on == "weights")


def test_every_mask_has_its_own_z_and_masks_with_a_measure_of_their_own_exist() -> None:
    entries = MEASURES.entries()
    masks = {e.thing.params["mask"] for e in entries.values() if e.thing.record.name == MASK}

    assert masks == {e.thing.params["mask"] for e in entries.values() if e.thing.record.name == MASK_Z}
    assert masks
    assert set(OWN) <= set(entries)
