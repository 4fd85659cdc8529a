"""Worked questions in SQL that say something only where tokens are known."""

import numpy as np

from archive.worked import WORKED
from tests.queries.language import losses, plant_texts
from tests.queries.simulated import Simulation


def test_change_by_kind_of_token_puts_two_nats_into_one_row(simulation: Simulation) -> None:
    plant_texts(simulation, np.ones((8, 10)))  # every token has a surprisal of 1
    (run,) = simulation.seeds(1)
    for step, loss in ((0, 5.0), (4, 3.0)):
        losses(simulation, run, step, np.full((8, 9), loss))
    rows = simulation.commit().rows(next(one.sql for one in WORKED if "by kind of token" in one.question))

    assert rows == [{"surprisal_from": 0.0, "n_tokens": 72, "mean_change": -2.0}]
