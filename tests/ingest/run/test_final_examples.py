"""neuron.final_examples through a whole study: filled after training, by the run's own final checkpoint."""

from pathlib import Path

import numpy as np

from archive.layout import Layout
from archive.store import Archive
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.train.checkpoints import load_run
from ingest.train.spec import TrainSpec
from tests.ingest.run.running import STEPS, TOML, go

NAME = "neuron.final_examples"
RUNS = [f"tiny/init{k}-data0-split{k}" for k in (0, 1)]
STUDY = TOML.replace('"weight_norm"', f'"{NAME}"')


def stored(path: Path) -> dict[tuple[str, int], np.ndarray]:
    """(run, step) -> [part, unit] in the order the measure has them."""
    rows = Archive(path).rows(
        """SELECT run, step, part, list(value ORDER BY neuron) AS activations
           FROM v_neuron WHERE measure = 'neuron.final_examples' GROUP BY ALL"""
    )
    parts = ("top", "held_out", "other_neuron", "random", "direction")
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault((row["run"], row["step"]), {})[row["part"]] = row["activations"]
    return {key: np.array([of[part] for part in parts]) for key, of in found.items()}


def test_a_study_fills_it_after_training_and_once(path: Path) -> None:
    assert go(path, STUDY).state == "done"
    found = stored(path)
    assert sorted(found) == [(run, step) for run in RUNS for step in STEPS]
    params = Archive(path).rows(f"SELECT DISTINCT params_json FROM v_quantity WHERE measure = '{NAME}'")
    assert '"reference_step":12' in next(iter(params))["params_json"].replace(" ", "")
    spec = TrainSpec(
        steps=12,
        task_params={"p": 5, "frac_train": 0.5},
        model={"d_model": 8, "n_heads": 2, "d_mlp": 8},
        checkpoints={"per_octave": 0, "every": 4},
    )
    folder = Layout.of(path).checkpoints / "tiny"
    for k, run in enumerate(RUNS):
        files = folder / f"init{k}-data0-split{k}"
        models = {step: load_run(files / f"step-{step:09d}.safetensors", run) for step in (4, 12)}
        for step, model in models.items():
            [value] = measure_checkpoint(model, spec.make_task(), k, [MEASURES.get(NAME)], final=models[12])
            np.testing.assert_allclose(
                found[run, step], np.array(value.columns["values"]), rtol=1e-5, atol=1e-6
            )
        # the end of training has its own largest activations
        assert all((found[run, 12][0] >= found[run, 12][other] - 1e-6).all() for other in (2,))
    before = found
    again = go(path, STUDY)
    assert again.state in ("done", "nothing to do")
    assert all(np.array_equal(stored(path)[key], values, equal_nan=True) for key, values in before.items())
