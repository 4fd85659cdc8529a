"""Published families whose checkpoints are files: layouts, schedules, places, and what is refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from archive.errors import UsageError
from ingest.catalogue import Defect, read_catalogue
from ingest.families import published
from ingest.families.step_files import UNKNOWN_END, StepFiles
from ingest.family import CheckpointRef, make_family
from ingest.models.hooked import HookedModel
from ingest.sources.base import CheckpointNotAvailable
from ingest.sources.fetcher import Fetcher
from ingest.sources.repository_files import FolderFiles, HubFiles, make_files_source
from tests.ingest.families.repositories import (
    ALL,
    OLD,
    PER_STEP,
    PLAIN,
    SOLU,
    STEPS,
    WIKI,
    Published,
    file_names,
    file_state,
    files_of,
)
from tests.ingest.families.small_hub import SmallHub, serving
from tests.references.transformer_lens_forward import lens_forward


def refs_of(model: Published, place: str) -> tuple[CheckpointRef, ...]:
    family = make_family(model.family)
    return family.checkpoints_in(family.find(model.run), place)


def loaded(model: Published, place: str, step: int) -> HookedModel:
    family = make_family(model.family)
    [ref] = [ref for ref in refs_of(model, place) if ref.step == step]
    return family.load(ref, family.source(place).get(ref.repository, ref.revision))


NAMES = [pytest.param(model, id=model.run) for model in ALL]


@pytest.mark.parametrize("model", NAMES)
def test_every_layout_computes_what_its_tensors_say(place: Path, model: Published) -> None:
    step = max(file_names(model).values())
    ours = loaded(model, f"path:{place}", step)
    config, state = model.state(step)
    double = {name: tensor.double() for name, tensor in state.items()}
    double.setdefault("unembed.b_U", torch.zeros(1))
    layout = model.layout
    tokens = torch.randint(
        layout.n_tokens, (3, layout.n_positions), generator=torch.Generator().manual_seed(4)
    )
    logits, patterns, before, *after = lens_forward(config, double, tokens)
    seen: dict[str, dict[int, Tensor]] = {"attention": {}, "post": {}, "mid": {}}
    ours.watch_mid(seen["mid"].__setitem__)
    final = ours.trunk(tokens, attention=seen["attention"].__setitem__, neurons=seen["post"].__setitem__)

    assert (ours.run, ours.step, ours.shape.n_layers) == (model.run, step, layout.n_layers)
    assert {tensor.dtype for _, tensor in ours.parameters()} == {torch.float32}
    assert final.shape == (3, layout.n_positions, layout.d_model)  # the logits of all would be large
    found = torch.stack([ours.unembed(sequence) for sequence in final])
    scale = logits.abs().max().item()
    torch.testing.assert_close(found.double(), logits, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(ours.logits(tokens), found, rtol=0, atol=1e-6 * scale)
    for layer, pattern in enumerate(patterns):
        torch.testing.assert_close(seen["attention"][layer].double(), pattern, rtol=0, atol=1e-4)
    solu = layout.activation == "solu_ln" and layout.d_mlp > 0
    assert ours.has_mid == solu
    assert len(seen["mid"]) == (layout.n_layers if solu else 0)
    assert len(seen["post"]) == (layout.n_layers if layout.d_mlp else 0)
    close = {"rtol": 1e-5, "atol": 3e-5 * layout.n_layers}  # float32 rounding grows with depth
    for layer, values in seen["post"].items():
        torch.testing.assert_close(values.double(), (after[0] if after else before)[layer], **close)
    for layer, values in seen["mid"].items():
        torch.testing.assert_close(values.double(), before[layer], **close)


def test_whether_positions_are_transposed_is_told_by_the_number_of_layers(place: Path) -> None:
    # as many positions as the model is wide: no shape can tell
    for model in ALL:
        if model.form == "old":
            stored = file_state(model, 1)["pos_embed.W_pos"].float()
            assert stored.shape == stored.T.shape
            ours = loaded(model, f"path:{place}", max(file_names(model).values())).weight("pos_embed.W_pos")
            expected = model.state(max(file_names(model).values()))[1]["pos_embed.W_pos"]
            assert torch.equal(ours, expected)


# --- which checkpoints there are ------------------------------------------------------------------------------


def test_files_named_with_tokens_become_steps(place: Path) -> None:
    refs = refs_of(PLAIN, f"path:{place}")
    assert tuple(ref.step for ref in refs) == STEPS
    assert [ref.tokens_seen for ref in refs] == [step * PER_STEP for step in STEPS]
    assert refs[0].revision == "model_init.pth"
    assert refs[3].revision == "checkpoints/tokens_000000050000.pth"
    assert (refs[3].label, refs[-1].revision) == ("tokens_000000050000", "model_final.pth")
    assert {ref.integrity_note for ref in refs} == {""}


def test_files_named_with_steps_leave_the_end_unknown(place: Path) -> None:
    refs = refs_of(OLD, f"path:{place}")
    assert [ref.step for ref in refs] == [1, 5, 50, 150, 151]
    assert {ref.tokens_seen for ref in refs} == {None}
    assert [ref.integrity_note for ref in refs] == ["", "", "", "", UNKNOWN_END]
    [only] = refs_of(WIKI, f"path:{place}")
    assert (only.step, only.revision, only.integrity_note) == (1, "model_final.pth", UNKNOWN_END)


def listed(files: tuple[str, ...], config: dict[str, Any], run: str = "gelu-2l") -> list[CheckpointRef]:
    family = make_family("toy_models")
    assert isinstance(family, StepFiles)
    return family.refs(family.find(run), files, config)


def test_labels_are_numbers_and_not_ends_of_names() -> None:
    files = tuple(f"checkpoints/NAME_v9_{label}.pth" for label in ("1500", "500", "00", "0100"))
    found = listed((*files, "checkpoints/notes.txt", "other/NAME_7.pth"), {})
    assert [(ref.step, ref.revision[-8:]) for ref in found] == [
        (0, "9_00.pth"),
        (100, "0100.pth"),
        (500, "_500.pth"),
        (1500, "1500.pth"),
    ]


def test_large_labels_count_tokens_whatever_the_files_are_called() -> None:
    files = ("checkpoints/x_262144.pth", "checkpoints/x_21999910912.pth", "model_final.pth")
    found = listed(files, {"tokens_per_step": 262144, "max_steps": 83923})
    assert [(ref.step, ref.tokens_seen) for ref in found] == [
        (1, 262144),
        (83923, 21999910912),  # the end has that step too, and is the same model
    ]
    assert [ref.step for ref in listed(files, {"tokens_per_step": 262144})] == [1, 83923, 83924]
    assert [ref.step for ref in listed(files, {"tokens_per_step": 262144, "max_steps": 5})][-1] == 83924
    with pytest.raises(UsageError, match=r"named with tokens, and neither its config.json nor the catalogue"):
        listed(files, {})
    # where the catalogue knows how many tokens an update takes, the file need not
    assert [ref.step for ref in listed(files, {}, "gelu-1l")] == [1, 83923]


def test_known_defects_are_on_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    defect = Defect.model_validate(
        {
            "models": ["gelu-*"],
            "labels": [{"at": [5]}],
            "integrity": "duplicate",
            "what": "the file of step 50",
            "link": "https://example.org",
            "evidence": "names",
        }
    )
    known = read_catalogue("toy_models").model_copy(update={"defect": (defect,)})
    monkeypatch.setattr(published, "read_catalogue", lambda name: known)
    found = listed(("checkpoints/x_5.pth", "checkpoints/x_50.pth"), {})
    assert [ref.integrity for ref in found] == ["duplicate", "ok"]
    assert found[0].integrity_note == "the file of step 50 (UNVERIFIED: only the name says what it is)"


def test_two_files_of_one_step_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"x_5\.pth and checkpoints/x_005\.pth of NeelNanda/GELU_2L"):
        listed(("checkpoints/x_5.pth", "checkpoints/x_005.pth"), {})


def test_first_upload_of_redwood_has_another_name() -> None:
    family = make_family("redwood")
    assert isinstance(family, StepFiles)
    spec = family.find("redwood_attn_2l")
    old, new = "et_model_state_dict.pt", "model_final.pth"
    assert [ref.revision for ref in family.refs(spec, ("dataset.pt", old), {})] == [old]
    assert [ref.revision for ref in family.refs(spec, (old, new), {})] == [new]


def test_nothing_is_known_before_a_place_is_asked() -> None:
    family = make_family("toy_models")
    assert family.checkpoints(family.find("gelu-1l")) == ()
    spec = family.find("solu-4l-wiki-finetune")
    record = spec.record()
    assert (record.name, record.parent_run) == ("solu-4l-wiki", "solu-4l")
    assert record.intervention == {"kind": "fine-tuning", "change": "training continued on Wikipedia"}
    groups = {name: family.find(name).record() for name in ("attn-only-3l", "gelu-3l", "solu-3l", "solu-6l")}
    assert len({groups[name].init_hash for name in ("attn-only-3l", "gelu-3l", "solu-3l")}) == 1
    assert groups["solu-3l"].data_order_hash
    assert groups["solu-6l"].init_hash == ""


def test_squares_of_othello_are_words() -> None:
    family = make_family("othello_gpt")
    tokenizer = family.tokenizer(family.find("othello-gpt"))
    assert tokenizer is not None
    assert tokenizer.n_vocab == 61
    assert tokenizer.encode("A0 D2 D5 H7").ids.tolist() == [1, 27, 28, 60]
    tokenizer.refuse_unless_it_fits("othello-gpt", 61)


# --- places ---------------------------------------------------------------------------------------------------


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    """`hub` reaches our own."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the loopback interface is not the network
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "users"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # pieces that can break off in between
    monkeypatch.setattr(_http.time, "sleep", lambda _: None)
    init = HubFiles.__init__

    def here(self: HubFiles, *args: Any, **settings: Any) -> None:
        init(self, *args, **{**settings, "endpoint": running.endpoint})

    monkeypatch.setattr(HubFiles, "__init__", here)
    repositories = {model.repository: {"main": files_of(model)} for model in (PLAIN, SOLU)}
    with serving(SmallHub(repositories)) as running:
        yield running


def test_path_and_hub_give_the_same_models_and_only_what_is_needed_is_fetched(
    place: Path, tmp_path: Path, online: SmallHub
) -> None:
    here, there = f"path:{place}", f"hub:{tmp_path / 'cache'}"
    assert [(r.step, r.revision) for r in refs_of(SOLU, there)] == [
        (r.step, r.revision) for r in refs_of(SOLU, here)
    ]
    for step in (5, 200):
        assert loaded(SOLU, there, step).weights_hash == loaded(SOLU, here, step).weights_hash
    sent = {name for name, _ in online.requested}
    assert sent == {"config.json", "checkpoints/tokens_000000005000.pth", "model_final.pth"}
    # the cache that was fetched into is a place of its own
    cache = f"path:{tmp_path / 'cache'}"
    assert [ref.step for ref in refs_of(SOLU, cache)] == [5, 200]
    assert loaded(SOLU, cache, 5).weights_hash == loaded(SOLU, here, 5).weights_hash
    snapshot = make_files_source(cache).get(SOLU.repository, "model_final.pth")
    assert snapshot.commit == online.commit(SOLU.repository, "main")
    shutil.rmtree(snapshot.folder)  # as the cache does when it needs the room
    assert [ref.step for ref in refs_of(SOLU, cache)] == [5]


def test_a_part_of_a_repository_has_the_steps_of_the_whole(tmp_path: Path, online: SmallHub) -> None:
    online.repositories[OLD.repository] = {"main": files_of(OLD)}
    there = refs_of(OLD, f"hub:{tmp_path / 'cache'}")
    source = make_files_source(f"hub:{tmp_path / 'cache'}")
    for ref in (there[1], there[-1]):
        source.get(ref.repository, ref.revision)
    # nothing says when training ended but the checkpoints that were not fetched
    assert refs_of(OLD, f"path:{tmp_path / 'cache'}") == (there[1], there[-1])


def test_what_was_listed_at_first_stays_so(tmp_path: Path, online: SmallHub) -> None:
    place = f"hub:{tmp_path / 'cache'}"
    first = refs_of(PLAIN, place)
    source = make_files_source(place)
    commit = source.get(PLAIN.repository, first[1].revision).commit
    online.repositories[PLAIN.repository]["main"]["checkpoints/tokens_000000007000.pth"] = b"new"
    online.status = 503
    assert refs_of(PLAIN, place) == first
    assert make_files_source(place).get(PLAIN.repository, first[1].revision).commit == commit
    with pytest.raises(CheckpointNotAvailable, match=r"tokens_000000005000\.pth") as caught:
        make_files_source(place).get(PLAIN.repository, first[2].revision)
    assert not caught.value.permanent


def test_a_hub_that_cannot_be_asked_is_named(tmp_path: Path, online: SmallHub) -> None:
    online.status = 503
    with pytest.raises(CheckpointNotAvailable, match=r"NeelNanda/GELU_2L512W_C4_Code.*answered 503"):
        refs_of(PLAIN, f"hub:{tmp_path / 'cache'}")


def test_the_users_cache_serves_offline(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    theirs = tmp_path / "theirs" / "models--NeelNanda--GELU_2L512W_C4_Code"
    (theirs / "refs").mkdir(parents=True)
    (theirs / "refs" / "main").write_text("c" * 40)
    shutil.copytree(place / PLAIN.repository, theirs / "snapshots" / ("c" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "theirs"))
    hub = f"hub:{tmp_path / 'cache'}"
    assert tuple(ref.step for ref in refs_of(PLAIN, hub)) == STEPS
    assert loaded(PLAIN, hub, 5).weights_hash == loaded(PLAIN, f"path:{place}", 5).weights_hash
    assert make_files_source(hub).get(PLAIN.repository, "model_final.pth").commit == "c" * 40
    assert loaded(PLAIN, f"path:{tmp_path / 'theirs'}", 50).step == 50


@pytest.mark.parametrize("at", ["NeelNanda/GELU_2L512W_C4_Code", "GELU_2L512W_C4_Code", ""])
def test_a_copy_of_a_repository_is_found(place: Path, tmp_path: Path, at: str) -> None:
    shutil.copytree(place / PLAIN.repository, tmp_path / "x" / at)
    refs = refs_of(PLAIN, f"path:{tmp_path / 'x'}")
    assert tuple(ref.step for ref in refs) == STEPS


def test_a_fetch_that_breaks_off_goes_on_and_an_absent_file_is_absent(
    tmp_path: Path, online: SmallHub
) -> None:
    place = f"hub:{tmp_path / 'cache'}"
    refs = refs_of(PLAIN, place)
    lost = refs[2].revision
    online.breaks_off[lost] = 900
    gone = CheckpointRef(PLAIN.run, PLAIN.repository, "checkpoints/tokens_000000999000.pth", "x", 999)
    with Fetcher(make_files_source(place), (refs[1], refs[2], gone, refs[3])) as fetcher:
        found = list(fetcher)
    assert [fetched.snapshot is None for fetched in found] == [False, True, True, False]
    for fetched, permanent in ((found[1], False), (found[2], True)):
        assert isinstance(fetched.error, CheckpointNotAvailable)
        assert fetched.error.permanent is permanent
        assert fetched.ref.revision in str(fetched.error)
    del online.breaks_off[lost]
    assert loaded(PLAIN, place, refs[2].step).step == refs[2].step


def test_a_folder_says_what_it_lacks(place: Path, tmp_path: Path) -> None:
    source = FolderFiles(place)
    with pytest.raises(
        CheckpointNotAvailable, match=r"'checkpoints/x_1\.pth' of .*has \d+ other file"
    ) as caught:
        source.get(PLAIN.repository, "checkpoints/x_1.pth")
    assert caught.value.permanent
    with pytest.raises(CheckpointNotAvailable, match="there is no folder") as caught:
        FolderFiles(tmp_path / "unmounted").get(PLAIN.repository, "model_final.pth")
    assert not caught.value.permanent
    shutil.copytree(place / PLAIN.repository, tmp_path / "x")
    (tmp_path / "x" / "model_final.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid")
    with pytest.raises(CheckpointNotAvailable, match="Git LFS pointer"):
        FolderFiles(tmp_path / "x").get(PLAIN.repository, "model_final.pth")
    (tmp_path / "x" / "config.json").write_text("[]")
    with pytest.raises(CheckpointNotAvailable, match=r"'config\.json' of .* cannot be read"):
        refs_of(PLAIN, f"path:{tmp_path / 'x'}")
