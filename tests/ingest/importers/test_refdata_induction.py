"""The published induction model, imported and measured, against values computed elsewhere from the same file.

Tolerances: 2e-4 absolute on scores, 1e-3 relative on losses.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from archive.store import Archive
from ingest.importers.importing import import_results
from ingest.importers.repeated_windows import RepeatedWindows
from ingest.importers.sources import Attribution
from ingest.mathematics.attention_masks import followers, mask_score
from ingest.measure import MEASURES
from ingest.models.loaded import LoadedModel
from ingest.readings.answers import negative_log_likelihood
from tests.ingest.importers.published import INDUCTION, LOSS, SCORE, loaded, scalars

pytestmark = [pytest.mark.refdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def archive(refdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The one file alone: measuring the others takes longer."""
    path = tmp_path_factory.mktemp("induction") / "x.duckdb"
    file = refdata / "grokking" / "saved_runs" / "induction_head_infinite.pth"
    import_results(path, file, format_name="grokking-runs", given=Attribution(name="grokking"))
    return Archive(path)


WINDOWS = RepeatedWindows(n_tokens=128, length=85, n_repeats=3, n_copied=16)


OF_NEURONS, OF_TOKEN_CLASSES = "neuron.", ("head.class_profile", "head.mask")
OF_ADDITION = ("fourier_", "key_frequenc", "restricted_loss", "excluded_loss", "fve")


def in_window(repeat: int) -> torch.Tensor:
    """Rows × the positions of copied tokens 2 … 16 of a window."""
    return torch.from_numpy(WINDOWS.starts[:, repeat, None] + np.arange(1, 16))


def window_losses(model: LoadedModel, repeat: int) -> tuple[float, float]:
    """(loss, accuracy) on tokens 2 … 16 of a repeat, each predicted from the position before it."""
    tokens = torch.from_numpy(WINDOWS.evaluation().tokens)
    at = in_window(repeat)
    logits = model.logits(tokens).gather(1, (at - 1)[:, :, None].expand(-1, -1, 128))
    targets = tokens.gather(1, at)
    right = (logits.argmax(-1) == targets).double().mean()
    return float(negative_log_likelihood(logits, targets).mean()), float(right)


def test_the_rows_are_the_deterministic_set() -> None:
    tokens = WINDOWS.evaluation().tokens
    assert tokens.shape == (256, 85)
    assert tokens.sum() == 1371778
    assert tokens[0, :6].tolist() == [0, 3, 13, 119, 97, 95]
    assert WINDOWS.starts[0].tolist() == [4, 29, 61]


def test_scores_and_loss_of_the_induction_model_are_stored(archive: Archive) -> None:
    assert scalars(archive, INDUCTION, "loss")[""] == pytest.approx(4.2964, **LOSS)
    rows = archive.rows(
        """SELECT layer, head, value FROM v_head_score
           WHERE run = $run AND measure = 'head.previous_token' AND layer = 0 ORDER BY head""",
        {"run": INDUCTION},
    )
    assert [r["value"] for r in rows] == pytest.approx([0.0514, 0.0572, 0.2895, 0.0524], **SCORE)
    rows = archive.rows(
        "SELECT measure, count(*) AS n FROM v_cell WHERE run = $run AND state = 'not applicable' GROUP BY ALL",
        {"run": INDUCTION},
    )
    measures = [entry.thing for entry in MEASURES.entries().values()]
    elsewhere = [
        one.record.name
        for one in measures
        if one.name.startswith(OF_ADDITION)
        or one.name.startswith(OF_NEURONS)
        or one.name.startswith(OF_TOKEN_CLASSES)
        or one.taken_on == "prompts"
        or one.name == "gradient_position_share"
    ]
    assert {r["measure"]: r["n"] for r in rows} == Counter(elsewhere)


def test_losses_by_repeat_and_head_scores_of_the_induction_model(refdata: Path) -> None:
    model = loaded(refdata, "induction_head_infinite")
    for repeat, (loss, accuracy) in enumerate([(5.5890, None), (1.7928, 0.8091), (1.8191, 0.7896)]):
        found = window_losses(model, repeat)
        assert found[0] == pytest.approx(loss, **LOSS)
        assert accuracy is None or found[1] == pytest.approx(accuracy, **SCORE)

    tokens = torch.from_numpy(WINDOWS.evaluation().tokens)
    pattern = model.activations(tokens, tokens[:, 1:], WINDOWS.read_positions).attention.double()
    previous = pattern.diagonal(-1, dim1=-2, dim2=-1)  # entry i is query i + 1
    first_window = previous[..., 1:27].mean((0, 3))
    assert first_window[0].tolist() == pytest.approx([0.0948, 0.1195, 0.8846, 0.1001], **SCORE)
    assert first_window[1].tolist() == pytest.approx([0.0953, 0.0935, 0.0941, 0.0940], **SCORE)


def following(query_repeat: int, key_repeat: int) -> torch.Tensor:
    """From tokens 1 … 15 of a window to what follows the same token in an earlier one: [row, query, key]."""
    mask = torch.zeros(256, 85, 85, dtype=torch.bool)
    rows = torch.arange(256)[:, None]
    mask[rows, in_window(query_repeat) - 1, in_window(key_repeat)] = True
    return mask


def test_prefix_matching_of_the_induction_model(archive: Archive, refdata: Path) -> None:
    model = loaded(refdata, "induction_head_infinite")
    tokens = torch.from_numpy(WINDOWS.evaluation().tokens)
    pattern = model.activations(tokens, tokens[:, 1:], WINDOWS.read_positions).attention
    second = mask_score(pattern, following(1, 0)).mean(0)
    assert second[0].tolist() == pytest.approx([0.0132, 0.0137, 0.0147, 0.0136], **SCORE)
    assert second[1].tolist() == pytest.approx([0.0583, 0.4499, 0.4594, 0.4499], **SCORE)
    third = mask_score(pattern, following(2, 0)).mean(0)
    assert third[1].tolist() == pytest.approx([0.0492, 0.4468, 0.4562, 0.4462], **SCORE)
    # by identity of tokens, wherever they stand
    everywhere = followers(tokens, torch.full_like(tokens, 2))
    by_identity = mask_score(pattern, everywhere).mean(0)
    assert by_identity[1].tolist() == pytest.approx([0.0651, 0.4505, 0.4600, 0.4503], **SCORE)

    # what is stored asks in the second and third window only, and sums over all earlier occurrences
    stored = archive.rows(
        """SELECT layer, head, value, chance FROM v_head_score
           WHERE run = $run AND measure = 'head.prefix_matching' AND params_json LIKE '%sum_targets%'
           ORDER BY layer, head""",
        {"run": INDUCTION},
    )
    copies = torch.from_numpy(WINDOWS.copies())
    expected = mask_score(pattern, followers(tokens, copies)).mean(0).flatten()
    assert [r["value"] for r in stored] == pytest.approx(expected.tolist(), **SCORE)
    assert all(r["value"] > 0.5 for r in stored[5:])
    assert {round(r["chance"], 4) for r in stored} == {0.0334}


def test_losses_by_copy_and_position_of_the_induction_model(archive: Archive) -> None:
    found = scalars(archive, INDUCTION, "induction_loss")
    later = (1.7928 + 1.8191) / 2
    assert found["first"] == pytest.approx(5.5890, **LOSS)
    assert found["later"] == pytest.approx(later, **LOSS)
    assert found["gain"] == pytest.approx(5.5890 - later, **LOSS)
    curve = archive.rows(
        "SELECT position, value FROM v_position WHERE run = $run AND measure = 'position_loss'",
        {"run": INDUCTION},
    )
    assert len(curve) == 84
    assert np.mean([r["value"] for r in curve]) == pytest.approx(4.2964, **LOSS)
    assert scalars(archive, INDUCTION, "icl_score")[""] == pytest.approx(
        curve[83]["value"] - curve[7]["value"], abs=1e-5
    )


def test_silencing_a_head_costs_what_it_did_elsewhere(refdata: Path) -> None:
    model = loaded(refdata, "induction_head_infinite")
    whole = window_losses(model, 1)[0]
    expected = [[1.4354, 1.2668, 3.0990, 1.4966], [0.0025, 0.6456, 0.9258, 0.8817]]
    for layer, heads in enumerate(expected):
        for head, change in enumerate(heads):
            name = f"blocks.{layer}.attn.W_V"
            values = model.weights[name].clone()
            values[:, head] = 0
            silenced = replace(model, weights={**model.weights, name: values})
            assert window_losses(silenced, 1)[0] - whole == pytest.approx(change, abs=2e-3)
