"""Models published as files, from a study to the archive: head scores, neurons' best examples at both sites, losses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from archive.schema.base import CellState
from archive.store import Archive
from ingest.catalogue import Catalogue, read_catalogue
from ingest.evalsets.stored import stored_eval_set
from ingest.families import published
from ingest.family import make_family
from ingest.measure import MEASURES
from ingest.measuring.scanning import scan
from pathscope.__main__ import app
from tests.ingest.families.repositories import (
    ATTENTION,
    DEMO,
    OLD,
    OTHELLO,
    REDWOOD,
    SOLU,
    STEPS,
    WIKI,
    Published,
    files_of,
    write_repository,
)
from tests.ingest.families.small_hub import SmallHub
from tests.ingest.families.test_step_files import online as online  # a fixture
from tests.ingest.language import losses_of, prompts, text

TEXT = "".join(f"def f{i}(x):\n    return x + {i * i}\n" for i in range(8))
GAMES = "D2 C2 C3 E2 F3\n\nC4 E5 F4 D5\n" * 30
STUDY = """
name = "{family}"
[load]
family = "{family}"
runs = {runs}
source = "{source}"
{tokenizer}
checkpoints = {checkpoints}
[[eval_sets]]
kind = "text"
name = "code"
files = ["text.txt"]
context = 16
bos = "none"
[[eval_sets]]
kind = "repeated_tokens"
bos = "none"
block = 5
copies = 2
n_sequences = 4
[measures]
names = {names}
schedule = {{ {schedule} }}
[executor]
kind = "inline"
"""
OF_HEADS = ["loss", "token_loss", "head.previous_token", "head.prefix_matching", "weight_norm"]
OF_NEURONS = ["neuron.top", "neuron.top:mid"]


def go(
    home: Path, models: tuple[Published, ...], names: list[str], **options: str
) -> tuple[int, dict[str, object]]:
    family = models[0].family
    study = STUDY.format(
        family=family,
        runs=json.dumps([model.run for model in models]),
        source=options.get("source", "path:repositories"),
        tokenizer="" if family == "othello_gpt" else 'tokenizer = "bytes"',
        checkpoints=options.get("checkpoints", '"all"'),
        names=json.dumps(names),
        schedule=", ".join(f'"{n}" = "final"' for n in names if n == "token_loss" or n.startswith("neuron")),
    )
    (home / "text.txt").write_text(GAMES if family == "othello_gpt" else TEXT)
    (home / "study.toml").write_text(study)
    done = CliRunner().invoke(
        app, ["ingest", str(home / "study.toml"), "--archive", str(home / "x.duckdb"), "--json"]
    )
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)["studies"][0]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue has the sizes of the tiny models, so that tokenizers fit."""

    def tiny(name: str) -> Catalogue:
        known = read_catalogue(name)
        n_vocab = (OTHELLO if name == "othello_gpt" else SOLU).layout.n_tokens
        sizes = {key: size.model_copy(update={"d_vocab": n_vocab}) for key, size in known.size.items()}
        return known.model_copy(update={"size": sizes})

    monkeypatch.setattr(published, "read_catalogue", tiny)


LAYOUTS = [
    pytest.param((SOLU, ATTENTION, WIKI, DEMO), id="toy_models"),
    # other files, read in tests/ingest/families/test_step_files.py; from there on as the first
    pytest.param((OLD,), marks=pytest.mark.thorough, id="solu_pile"),
    pytest.param((REDWOOD,), marks=pytest.mark.thorough, id="redwood"),
    pytest.param((OTHELLO,), id="othello_gpt"),
]


@pytest.mark.parametrize("models", LAYOUTS)
def test_every_layout_is_measured_once_and_then_there_is_nothing_to_do(
    tmp_path: Path, models: tuple[Published, ...]
) -> None:
    for model in models:
        write_repository(tmp_path / "repositories", model)
    with_neurons = any(model.layout.d_mlp for model in models)
    names = OF_HEADS + (OF_NEURONS if with_neurons else [])
    code, study = go(tmp_path, models, names)
    assert (code, study["state"]) == (0, "done"), study
    assert go(tmp_path, models, names)[1]["state"] == "nothing to do"
    archive = Archive(tmp_path / "x.duckdb")
    family = make_family(models[0].family)
    for model in models:
        refs = family.checkpoints_in(family.find(model.run), f"path:{tmp_path / 'repositories'}")
        rows = archive.rows(
            "SELECT step, label, tokens_seen, weights_hash FROM v_checkpoint WHERE run = $run ORDER BY step",
            {"run": model.run},
        )
        assert [(r["step"], r["label"], r["tokens_seen"]) for r in rows] == [
            (ref.step, ref.label, ref.tokens_seen) for ref in refs
        ]
        assert len({row["weights_hash"] for row in rows}) == len(refs)
        ref = refs[-1]
        source = family.source(f"path:{tmp_path / 'repositories'}")
        ours = family.load(ref, source.get(ref.repository, ref.revision))
        compare(archive, ours, model, ref.step)
    if len(models) > 1:
        rows = archive.rows(
            "SELECT DISTINCT run, site, state FROM v_cell WHERE measure = 'neuron.top' AND step IS NOT NULL"
        )
        assert {row["state"] for row in rows if row["run"] == SOLU.run} == {"done"}
        assert {row["site"] for row in rows if row["run"] == SOLU.run} == {"mlp.hook_post", "mlp.hook_mid"}
        assert {row["state"] for row in rows if row["run"] == ATTENTION.run} == {"not applicable"}
        [run] = archive.rows("SELECT parent_run, intervention_json FROM v_run WHERE run = 'solu-1l-wiki'")
        assert run["parent_run"] == "solu-1l"
        assert json.loads(run["intervention_json"])["kind"] == "fine-tuning"


def compare(archive: Archive, ours: object, model: Published, step: int) -> None:
    """What is stored is what the model computes."""
    from ingest.models.hooked import HookedModel

    assert isinstance(ours, HookedModel)
    [code] = archive.rows("SELECT hash FROM encoding WHERE name = 'code'")
    sequences = stored_eval_set(archive, code["hash"]).sequences
    tokens = torch.from_numpy(sequences.ids.astype(np.int64)).reshape(len(sequences), -1)
    patterns: dict[int, torch.Tensor] = {}
    neurons: dict[str, dict[int, torch.Tensor]] = {"mlp.hook_post": {}, "mlp.hook_mid": {}}
    ours.watch_mid(neurons["mlp.hook_mid"].__setitem__)
    final = ours.trunk(tokens, attention=patterns.__setitem__, neurons=neurons["mlp.hook_post"].__setitem__)
    losses = losses_of(ours, tokens, final)
    where = {"run": model.run, "step": step}
    rows = archive.rows(
        """SELECT sequence, values FROM fact_token f JOIN v_quantity q ON q.quantity_id = f.quantity_id
           JOIN v_checkpoint c ON c.checkpoint_id = f.checkpoint_id
           WHERE q.measure = 'token_loss' AND q.eval_set = 'code' AND c.run = $run AND c.step = $step
           ORDER BY sequence""",
        where,
    )
    stored = np.array([row["values"][: losses.shape[1]] for row in rows], dtype=float)
    np.testing.assert_allclose(stored, losses.numpy(), rtol=1e-4, atol=1e-4)
    heads = archive.rows(
        """SELECT value FROM v_head_score WHERE measure = 'head.previous_token' AND eval_set = 'code'
           AND run = $run AND step = $step ORDER BY layer, head""",
        where,
    )
    expected = torch.stack([patterns[i].diagonal(-1, -2, -1).mean((0, 2)) for i in sorted(patterns)])
    np.testing.assert_allclose([row["value"] for row in heads], expected.flatten(), rtol=1e-4, atol=1e-5)
    for site, layers in neurons.items():
        best = archive.rows(
            f"""SELECT layer, neuron, value FROM v_neuron_top WHERE run = $run AND step = $step AND rank = 0
                AND site = '{site}' ORDER BY layer, neuron""",
            where,
        )
        assert len(best) == sum(values.shape[2] for values in layers.values())
        if layers:
            largest = torch.stack([layers[i].flatten(0, 1).amax(0) for i in sorted(layers)])
            np.testing.assert_allclose([r["value"] for r in best], largest.flatten(), rtol=1e-4, atol=1e-5)
    has_two = model.layout.activation == "solu_ln" and model.layout.d_mlp > 0
    assert bool(neurons["mlp.hook_mid"]) == has_two


def test_from_the_hub_what_is_lost_is_recorded_and_the_rest_goes_on(tmp_path: Path, online: SmallHub) -> None:
    names = ["loss", "neuron.top"]
    lost = "checkpoints/tokens_000000005000.pth"
    cut = "checkpoints/tokens_000000050000.pth"
    content = files_of(SOLU)
    content[cut] = content[cut][:-700]
    online.repositories[SOLU.repository]["main"] = content
    online.gone.add(lost)
    code, study = go(tmp_path, (SOLU,), names, source="hub:cache")
    assert code == 1
    found = {failure["step"]: failure for failure in study["failures"]}
    assert set(found) == {5, 50}
    assert lost in found[5]["message"]
    assert cut in found[50]["message"]
    assert "damaged" in found[50]["message"]
    assert found[50]["permanent"]
    archive = Archive(tmp_path / "x.duckdb")
    rows = archive.rows("SELECT step, integrity FROM v_checkpoint ORDER BY step")
    assert {row["step"]: row["integrity"] for row in rows if row["step"] in (5, 150)} == {
        5: "absent",
        150: "ok",
    }
    done = archive.rows(
        "SELECT DISTINCT step FROM v_cell WHERE state = 'done' AND step IS NOT NULL ORDER BY step"
    )
    assert [row["step"] for row in done] == [step for step in STEPS if step not in (5, 50)]
    online.status = 503  # what was fetched and listed serves without a hub
    assert go(tmp_path, (SOLU,), names, source="hub:cache")[1]["state"] == "nothing to do"
    more = [*names, "weight_norm"]
    code, study = go(tmp_path, (SOLU,), more, source="hub:cache", checkpoints='"final"')
    assert (code, study["state"]) == (0, "done")


@pytest.mark.parametrize("model", [SOLU, OLD, DEMO, REDWOOD], ids=lambda model: model.run)
def test_every_measure_of_models_takes_them(tmp_path: Path, model: Published) -> None:
    write_repository(tmp_path, model)
    family = make_family(model.family)
    ref = family.checkpoints_in(family.find(model.run), f"path:{tmp_path}")[-1]
    source = family.source(f"path:{tmp_path}")
    ours = family.load(ref, source.get(ref.repository, ref.revision))
    of_any = [entry.thing for entry in MEASURES.entries().values() if entry.thing.any_model]
    done = set()
    for task, measures in (
        (text(), [one for one in of_any if one.taken_on != "prompts"]),
        (prompts(), [one for one in of_any if one.taken_on == "prompts"]),
    ):
        for value, one in zip(scan(ours, task, measures), measures, strict=True):
            assert value.state in (CellState.DONE, CellState.NOT_APPLICABLE), (one.name, value.message)
            done |= {one.name} if value.state is CellState.DONE else set()
    assert {"k_composition", "head.copying_eig", "logit_attribution", "head.ablation_effect:mean"} <= done
    assert ("neuron.logit_effect" in done) == bool(model.layout.d_mlp)
