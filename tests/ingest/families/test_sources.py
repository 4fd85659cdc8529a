"""Folders, the hub and fetching ahead: what is whole is handed out, everything else is said by name."""

import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from archive.errors import NoSpace, UsageError
from ingest.family import CheckpointRef, make_family
from ingest.sources import TOKENIZER, make_source
from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source, TokenizerNotAvailable
from ingest.sources.fetcher import Fetcher
from ingest.sources.files import Incomplete, wanted_files
from ingest.sources.folder import FolderSource
from ingest.sources.hub import HubSource
from ingest.studies.loading import LoadSpec
from tests.ingest.families.fixtures import CRFM, PYTHIA, commit_of, in_cache
from tests.ingest.families.small_hub import SmallHub, serving

SIZE = 1000
NAME = "org/model"


def files(fill: bytes, size: int = SIZE) -> dict[str, bytes]:
    return {
        "config.json": b"{}",
        "pytorch_model.bin": fill * size,
        "training_args.bin": b"pickle",
        "README.md": b"words",
    }


def ref(revision: str, repository: str = NAME) -> CheckpointRef:
    return CheckpointRef("run", repository, revision, revision, 0)


# --- folders ------------------------------------------------------------------------------------------------


def test_a_cache_gives_the_commit(cache: Path) -> None:
    snapshot = make_source(f"path:{cache}").get(PYTHIA, "step1000")
    assert snapshot == Snapshot(in_cache(cache, PYTHIA, "step1000"), commit_of(PYTHIA, "step1000"))
    assert FolderSource(cache).get(PYTHIA, snapshot.commit) == snapshot
    assert FolderSource(cache).revisions(CRFM) == ("checkpoint-0", "checkpoint-100", "checkpoint-400000")


@pytest.mark.parametrize("where", ["org/model/step5", "model/step5", "step5"])
def test_plain_folders_are_found(tmp_path: Path, where: str) -> None:
    folder = tmp_path / where
    folder.mkdir(parents=True)
    for name, content in files(b"x").items():
        (folder / name).write_bytes(content)
    assert FolderSource(tmp_path).get(NAME, "step5") == Snapshot(folder)
    assert FolderSource(tmp_path).revisions(NAME) == ("step5",)


def test_one_checkpoint_is_its_main_revision(tmp_path: Path) -> None:
    for name, content in files(b"x").items():
        (tmp_path / name).write_bytes(content)
    assert FolderSource(tmp_path).get(NAME, "main") == Snapshot(tmp_path)
    assert FolderSource(tmp_path).revisions(NAME) == ("main",)


def test_a_missing_revision_is_named_and_permanent(cache: Path) -> None:
    with pytest.raises(
        CheckpointNotAvailable, match=r"'step2000' of EleutherAI/pythia-14m .*has 4 other"
    ) as caught:
        FolderSource(cache).get(PYTHIA, "step2000")
    assert (caught.value.repository, caught.value.revision, caught.value.permanent) == (
        PYTHIA,
        "step2000",
        True,
    )
    with pytest.raises(CheckpointNotAvailable, match="has none of it"):
        FolderSource(cache).get("EleutherAI/pythia-31m", "step0")
    with pytest.raises(CheckpointNotAvailable, match="there is no folder"):
        FolderSource(cache / "nowhere").get(PYTHIA, "step0")


def test_a_half_copied_snapshot_is_not_taken_for_whole(cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cache, copy)
    (in_cache(copy, PYTHIA, "step0") / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointNotAvailable, match=r"'step0' .*none of model.safetensors.*copy") as caught:
        FolderSource(copy).get(PYTHIA, "step0")
    assert not caught.value.permanent


def test_places_are_spelt_in_two_ways(tmp_path: Path) -> None:
    assert isinstance(make_source("hub"), HubSource)
    assert make_source(f"hub:{tmp_path}").cache == tmp_path  # type: ignore[attr-defined]
    for wrong in ("huggingface", "path:", "path", ""):
        with pytest.raises(UsageError, match=r"write `hub`, `hub:CACHE_FOLDER` or `path:FOLDER`"):
            make_source(wrong)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (["config.json", "pytorch_model.bin", "model.safetensors"], ["config.json", "model.safetensors"]),
        (
            ["config.json", "pytorch_model.bin", "optimizer.pt", "tf_model.h5"],
            ["config.json", "pytorch_model.bin"],
        ),
        (
            [
                "config.json",
                "pytorch_model.bin.index.json",
                "pytorch_model-2-of-2.bin",
                "pytorch_model-1-of-2.bin",
            ],
            [
                "config.json",
                "pytorch_model.bin.index.json",
                "pytorch_model-1-of-2.bin",
                "pytorch_model-2-of-2.bin",
            ],
        ),
    ],
)
def test_only_configuration_and_one_set_of_weights_are_wanted(there: list[str], wanted: list[str]) -> None:
    assert list(wanted_files(there)) == wanted


def test_a_repository_without_weights_is_incomplete() -> None:
    with pytest.raises(Incomplete, match=r"none of model\.safetensors"):
        wanted_files(["config.json", "model.gguf"])


# --- the hub ------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the loopback interface is not the network
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "users"))
    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 100
    )  # of 10 MB: pieces that can break off in between
    monkeypatch.setattr(_http.time, "sleep", lambda _: None)
    contents = {f"step{k}": files(bytes([65 + k])) for k in range(4)}
    with serving(SmallHub({NAME: contents})) as running:
        yield running


def source(hub: SmallHub, tmp_path: Path, **settings: int) -> HubSource:
    given = {"reserve_bytes": 0, **settings}
    return HubSource(tmp_path / "own", endpoint=hub.endpoint, **given)


def test_a_checkpoint_is_fetched_once_with_its_commit(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path)
    snapshot = own.get(NAME, "step1")

    assert snapshot.commit == hub.commit(NAME, "step1")
    assert snapshot.fetched
    assert sorted(p.name for p in snapshot.folder.iterdir()) == ["config.json", "pytorch_model.bin"]
    assert (snapshot.folder / "pytorch_model.bin").read_bytes() == b"B" * SIZE
    hub.requested.clear()
    assert own.get(NAME, "step1") == snapshot
    assert hub.requested == []
    # what was fetched is a cache like any other
    assert FolderSource(tmp_path / "own").get(NAME, "step1").folder == snapshot.folder
    assert own.revisions(NAME) == ("step0", "step1", "step2", "step3")


def test_two_names_of_one_commit_are_fetched_once(hub: SmallHub, tmp_path: Path) -> None:
    hub.repositories[NAME]["main"] = hub.repositories[NAME]["step3"]
    own = source(hub, tmp_path)
    first = own.get(NAME, "step3")
    hub.requested.clear()
    assert own.get(NAME, "main") == first
    assert hub.requested == []


def test_the_users_cache_is_used_and_left_alone(hub: SmallHub, tmp_path: Path) -> None:
    folder = in_cache(tmp_path / "users", NAME, "step1")
    folder.mkdir(parents=True)
    for name, content in files(b"mine").items():
        (folder / name).write_bytes(content)
    own = source(hub, tmp_path, budget_bytes=1)
    snapshot = own.get(NAME, "step1")
    own.release(snapshot)
    assert snapshot == Snapshot(folder, commit_of(NAME, "step1"), fetched=False)
    with pytest.raises(NoSpace):
        own.get(NAME, "step2")
    assert len(list(folder.iterdir())) == 4


def unavailable(own: Source, repository: str, revision: str) -> CheckpointNotAvailable:
    with pytest.raises(CheckpointNotAvailable) as caught:
        own.get(repository, revision)
    assert repository in str(caught.value)
    assert repr(revision) in str(caught.value)
    return caught.value


def test_what_does_not_exist_is_permanent(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path)
    gone = unavailable(own, NAME, "step9")
    assert gone.permanent
    assert "no such revision" in str(gone)
    assert unavailable(own, "not a name", "main").permanent
    hub.repositories[NAME]["empty"] = {"config.json": b"{}", "README.md": b"soon"}
    assert "none of model.safetensors" in str(unavailable(own, NAME, "empty"))


def test_what_a_token_may_open_is_tried_again(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path)
    assert not unavailable(own, "org/nothing", "main").permanent  # it may be private
    hub.gated.add(NAME)
    gated = unavailable(own, NAME, "step0")
    assert "accept its terms" in str(gated)
    assert not gated.permanent


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_in_trouble_is_transient(hub: SmallHub, tmp_path: Path, status: int) -> None:
    hub.status = status
    trouble = unavailable(source(hub, tmp_path), NAME, "step0")
    assert not trouble.permanent
    assert str(status) in str(trouble)


def test_no_network_is_transient(hub: SmallHub, tmp_path: Path) -> None:
    own = HubSource(tmp_path / "own", endpoint="http://127.0.0.1:9", reserve_bytes=0)
    trouble = unavailable(own, NAME, "step0")
    assert not trouble.permanent
    assert "check the network" in str(trouble)


def test_offline_what_is_cached_can_be_had_and_nothing_else(
    hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    own = source(hub, tmp_path)
    cached = own.get(NAME, "step0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert own.get(NAME, "step0") == cached
    trouble = unavailable(own, NAME, "step1")
    assert not trouble.permanent
    assert "HF_HUB_OFFLINE" in str(trouble)


def test_an_interrupted_fetch_leaves_nothing_that_looks_whole_and_goes_on(
    hub: SmallHub, tmp_path: Path
) -> None:
    own = source(hub, tmp_path)
    hub.breaks_off["pytorch_model.bin"] = 400
    assert not unavailable(own, NAME, "step2").permanent
    assert ("pytorch_model.bin", 400) in hub.requested  # it tried to go on first
    assert not list((tmp_path / "own").glob("models--*/snapshots/*"))
    assert not FolderSource(tmp_path / "own").has(NAME, "step2")
    hub.breaks_off.clear()
    hub.requested.clear()
    snapshot = source(hub, tmp_path).get(NAME, "step2")
    assert hub.requested == [("pytorch_model.bin", 0)]  # and nothing that had come whole
    assert (snapshot.folder / "pytorch_model.bin").read_bytes() == b"C" * SIZE


def test_a_file_of_another_length_is_refused(
    hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = source(hub, tmp_path)

    def short(repository: str, commit: str, name: str, part: Path) -> None:
        part.mkdir(parents=True, exist_ok=True)
        (part / name).write_bytes(b"x" * 2)

    monkeypatch.setattr(own, "_download", short)
    assert "came with 2 bytes, the hub says 1000" in str(unavailable(own, NAME, "step2"))
    assert not list((tmp_path / "own").glob("models--*/*/" + hub.commit(NAME, "step2") + "/*"))


def test_the_oldest_gives_way_within_the_budget(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path, budget_bytes=2 * SIZE + 100)
    folders = []
    for k in range(3):
        snapshot = own.get(NAME, f"step{k}")
        own.release(snapshot)
        os.utime(snapshot.folder, (k, k))
        folders.append(snapshot.folder)
    assert [folder.is_dir() for folder in folders] == [False, True, True]
    own.release(own.get(NAME, "step1"))  # used again: step 2 is the oldest now
    own.get(NAME, "step3")
    assert [folder.is_dir() for folder in folders] == [False, True, False]


def test_what_is_in_use_does_not_give_way(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path, budget_bytes=SIZE + 100)
    used = own.get(NAME, "step0")
    # another process, as far as the locks are concerned
    with pytest.raises(NoSpace, match=r"org/model at step1 takes 0.00 GB more.*hub:FOLDER"):
        source(hub, tmp_path, budget_bytes=SIZE + 100).get(NAME, "step1")
    assert used.folder.is_dir()
    own.release(used)
    own.get(NAME, "step1")
    assert not used.folder.is_dir()


def test_a_checkpoint_larger_than_the_budget_clears_nothing(hub: SmallHub, tmp_path: Path) -> None:
    hub.repositories[NAME]["large"] = files(b"L", 10 * SIZE)
    own = source(hub, tmp_path, budget_bytes=3 * SIZE)
    kept = own.get(NAME, "step0")
    own.release(kept)
    with pytest.raises(NoSpace, match="large takes"):
        own.get(NAME, "large")
    assert kept.folder.is_dir()


def test_a_disk_that_is_too_small(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path, reserve_bytes=10**18)
    with pytest.raises(NoSpace, match="its disk has"):
        own.get(NAME, "step0")


def test_a_disk_that_fills_up(hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = source(hub, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(own, "_download", full)
    with pytest.raises(NoSpace, match="filled up while org/model at step0"):
        own.get(NAME, "step0")


def test_a_study_says_how_much_the_cache_may_hold(hub: SmallHub, tmp_path: Path) -> None:
    def opened(**settings: object) -> Source:
        return LoadSpec.model_validate(
            {"family": "pythia", "source": f"hub:{tmp_path / 'own'}", **settings}
        ).make_source()

    assert isinstance(opened(), HubSource)
    assert vars(opened())["budget_bytes"] == 50 * 10**9
    assert vars(opened(cache_gb=1.5))["budget_bytes"] == 1_500_000_000
    own = source(hub, tmp_path, budget_bytes=10 * SIZE)
    for step in range(3):
        own.release(own.get(NAME, f"step{step}"))
    own.keep_within(SIZE + 100)
    own.get(NAME, "step3")
    assert len(list((tmp_path / "own").glob("models--*/snapshots/*/"))) == 1
    for odd in (0, -1):
        with pytest.raises(ValidationError, match="greater than 0"):
            opened(cache_gb=odd)
    with pytest.raises(ValidationError, match=r"nothing is fetched from path:x; leave it out"):
        opened(cache_gb=5, source="path:x")


def test_a_fetch_that_broke_off_counts_and_gives_way(hub: SmallHub, tmp_path: Path) -> None:
    left = tmp_path / "own" / "models--org--other" / "fetching" / ("a" * 40)
    left.mkdir(parents=True)
    (left / "pytorch_model.bin").write_bytes(b"x" * SIZE)
    source(hub, tmp_path, budget_bytes=SIZE + 100).get(NAME, "step0")
    assert not left.exists()


def test_tokenizers_are_fetched_apart_from_weights(hub: SmallHub, tmp_path: Path) -> None:
    words = {"tokenizer.json": b"{}", "tokenizer_config.json": b"{}"}
    hub.repositories[NAME]["step0"] |= words
    tokenizers = HubSource(tmp_path / "own", TOKENIZER, endpoint=hub.endpoint, reserve_bytes=0)
    found = tokenizers.get(NAME, "step0").folder
    assert {p.name for p in found.iterdir()} == {*words, "config.json"}
    weights = source(hub, tmp_path).get(NAME, "step0").folder
    assert {p.name for p in weights.iterdir()} == {"config.json", "pytorch_model.bin"}
    with pytest.raises(CheckpointNotAvailable, match=r"none of tokenizer\.json.*repaired upstream"):
        tokenizers.get(NAME, "step1")


def test_a_folder_without_tokenizer_files_is_not_taken_for_a_tokenizer(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotAvailable, match=r"none of tokenizer\.json"):
        make_source(f"path:{cache}", TOKENIZER).get(PYTHIA, "step0")
    (tmp_path / "model" / "main").mkdir(parents=True)
    (tmp_path / "model" / "main" / "vocab.json").write_text("{}")
    assert make_source(f"path:{tmp_path}", TOKENIZER).get(NAME, "main").folder == tmp_path / "model" / "main"


def test_a_missing_tokenizer_is_called_one(tmp_path: Path) -> None:
    family = make_family("pythia")
    spec = family.find("pythia-14m")
    with pytest.raises(TokenizerNotAvailable) as caught:
        family.tokenizer(spec, f"path:{tmp_path}")
    said = str(caught.value)
    assert said.startswith(f"the tokenizer of pythia-14m (repository {spec.tokenizer}) is not available: ")
    assert "has none of it" in said
    assert "load.tokenizer" in said
    assert "checkpoint" not in said
    with pytest.raises(TokenizerNotAvailable, match="repository org/other"):
        family.tokenizer(spec, f"path:{tmp_path}", "org/other")


# --- fetching ahead -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_everything_comes_in_order_and_failures_do_not_stop_it(
    hub: SmallHub, tmp_path: Path, ahead: int
) -> None:
    wanted = ["step0", "step9", "step1", "step2", "step3"]
    own = source(hub, tmp_path)
    with Fetcher(own, [ref(name) for name in wanted], ahead=ahead) as fetcher:
        found = []
        for fetched in fetcher:
            assert (fetched.snapshot is None) != (fetched.error is None)
            if fetched.snapshot is not None:
                found.append(
                    (fetched.ref.revision, (fetched.snapshot.folder / "pytorch_model.bin").read_bytes()[:1])
                )
            else:
                assert isinstance(fetched.error, CheckpointNotAvailable)
                found.append((fetched.ref.revision, b""))
    assert found == [("step0", b"A"), ("step9", b""), ("step1", b"B"), ("step2", b"C"), ("step3", b"D")]
    assert not any(own._uses.values())


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
def test_a_budget_for_one_is_enough(hub: SmallHub, tmp_path: Path, ahead: int) -> None:
    own = source(hub, tmp_path, budget_bytes=SIZE + 100)
    with Fetcher(own, [ref(f"step{k}") for k in range(4)], ahead=ahead) as fetcher:
        seen = []
        for fetched in fetcher:
            assert fetched.snapshot is not None, fetched.error
            seen.append((fetched.snapshot.folder / "pytorch_model.bin").read_bytes()[:1])
            assert len(list((tmp_path / "own").glob("models--*/snapshots/*"))) == 1
    assert seen == [b"A", b"B", b"C", b"D"]


def test_the_next_is_fetched_while_this_one_is_worked_on(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path)
    with Fetcher(own, [ref("step0"), ref("step1")], ahead=1) as fetcher:
        rest = iter(fetcher)
        next(rest)
        fetcher._thread.submit(lambda: None).result()  # the thread has done what it was given before
        assert FolderSource(tmp_path / "own").has(NAME, "step1")


def test_leaving_early_frees_what_was_fetched_ahead(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path)
    with Fetcher(own, [ref(f"step{k}") for k in range(4)], ahead=2) as fetcher:
        for _ in fetcher:
            break
    assert not any(own._uses.values())
    with pytest.raises(ValueError, match="ahead is -1"):
        Fetcher(own, [], ahead=-1)


def test_leaving_stops_a_fetch_that_is_under_way(hub: SmallHub, tmp_path: Path) -> None:
    own = source(hub, tmp_path)
    hub.repositories[NAME]["step1"]["model.safetensors"] = b"large"
    hub.endless.add("model.safetensors")

    def interrupted() -> None:
        with Fetcher(own, [ref("step0"), ref("step1")]) as fetcher:
            for fetched in fetcher:
                assert fetched.ref.revision == "step0"
                assert hub.began.wait(60)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert hub.cut.wait(60)
    assert not FolderSource(tmp_path / "own").has(NAME, "step1")
    hub.endless.clear()
    assert own.get(NAME, "step0").folder.is_dir()  # the source is as good as before


def test_two_processes_fetch_one_checkpoint_once(hub: SmallHub, tmp_path: Path) -> None:
    # two sources with a cache in common lock each other out as two processes do
    both = [source(hub, tmp_path) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda own: own.get(NAME, "step2"), both))
    assert found[0] == found[1]
    assert sorted(name for name, _ in hub.requested) == ["config.json", "pytorch_model.bin"]


def test_a_published_series_with_holes_is_measured_where_it_is(cache: Path) -> None:
    family = make_family("pythia")
    refs = family.checkpoints(family.find("pythia-14m"))
    with Fetcher(family.source(f"path:{cache}"), refs) as fetcher:
        found = {f.ref.step: f for f in fetcher}
    assert sorted(step for step, f in found.items() if f.snapshot) == [0, 1000, 143_000]
    assert len(found) == 154
    assert "'step2000' of EleutherAI/pythia-14m" in str(found[2000].error)
