"""What every registered import format promises, tried on a small file of its own."""

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest

from archive.errors import UnknownName
from archive.manifest import FACT_TABLES
from archive.records import MEASURED_HERE, Checkpoint, Quantity, Run, Source
from archive.shard import ShardBuilder
from ingest.importers import grokking_runs
from ingest.importers.base import IMPORTERS, Block, Damaged, Importer, ImportFile, Parsed, importer
from ingest.importers.files import HEAD_BYTES, head_text, is_parquet, mapping_beside, parquet_columns
from ingest.importers.published_models import Setting
from ingest.measure import MEASURES
from ingest.measuring.measured import MeasuredValue
from ingest.models.loaded import LoadedModel
from ingest.registry import RegistrationRefused
from tests.ingest.importers.making import SAMPLES

FORMATS = [pytest.param(entry.thing, id=name) for name, entry in IMPORTERS.entries().items()]
SOURCE = Source(name="contract")


def read(reader: type[Importer], path: Path) -> Parsed:
    return Parsed.joined(reader(SOURCE).parse_parts(ImportFile.load(path, f"folder/{path.name}")))


def sample(reader: type[Importer], folder: Path) -> Path:
    assert reader.name in SAMPLES, (
        f"no module tests/ingest/importers/making*.py has a sample of {reader.name}"
    )
    return SAMPLES[reader.name](folder)


def quantities(block: Block) -> list[Quantity]:
    return [block.quantity] if isinstance(block.quantity, Quantity) else list(block.quantity)


@pytest.mark.parametrize("reader", FORMATS)
def test_it_says_what_it_reads(reader: type[Importer]) -> None:
    assert reader.name == reader.name.lower().replace(" ", "-").replace("_", "-")
    assert reader.base in (0, 1)
    assert all(s.startswith(".") and s == s.lower() for s in reader.suffixes)
    assert reader.title
    assert reader.reads
    assert reader.units


@pytest.mark.parametrize("reader", FORMATS)
def test_it_recognises_its_own_files_and_nobody_else_does(reader: type[Importer], tmp_path: Path) -> None:
    path = sample(reader, tmp_path)

    assert reader.sniff(path)
    formats = [entry.thing for entry in IMPORTERS.entries().values()]
    assert [i.name for i in formats if recognised_by(i, path)] == [reader.name]


def recognised_by(reader: type[Importer], path: Path) -> bool:
    """What the format says of the contents alone, whatever the file is called."""
    if reader.mapped or mapping_beside(path) is not None:
        return reader.mapped and mapping_beside(path) is not None
    head = path.read_bytes()[:HEAD_BYTES]
    if is_parquet(head):
        return reader.recognises_columns(parquet_columns(path))
    return reader.recognises_bytes(head) or reader.recognises(head_text(head))


@pytest.mark.parametrize("reader", FORMATS)
@pytest.mark.parametrize(
    "head", ["", "{}", "[]", "null", "a,b\n1,2\n", "<html>", "\x00\x01", "{" * 1000, "\n" * 9]
)
def test_it_recognises_nothing_in_nothing(reader: type[Importer], head: str) -> None:
    assert not reader.recognises(head)
    assert not reader.recognises_bytes(head.encode())


@pytest.mark.parametrize("reader", FORMATS)
def test_what_it_gives_fits_the_archive_and_names_its_source(reader: type[Importer], tmp_path: Path) -> None:
    parsed = read(reader, sample(reader, tmp_path))

    assert parsed.blocks or parsed.checkpoints
    declared = {run.name for run in parsed.runs}
    for block in parsed.blocks:
        spec = FACT_TABLES[block.table]
        for subject in [block.subject] if isinstance(block.subject, Run | Checkpoint) else block.subject:
            assert (subject.name if isinstance(subject, Run) else subject.run) in declared
            assert spec.owner == ("run" if isinstance(subject, Run) else "checkpoint")
        for quantity in quantities(block):
            assert quantity.source == SOURCE
            assert quantity.measure.table == block.table
        for index in ("layer", "head", "unit"):
            if index in block.columns:
                assert min(np.asarray(block.columns[index])) == 0, (
                    f"{reader.name}: {index} does not begin at 0"
                )
        if "value" in block.columns:
            assert np.isfinite(np.asarray(block.columns["value"], dtype=float)).all()
    for model in parsed.models:
        assert model.checkpoint.run in declared
        assert model.checkpoint.weights_hash
        # what is measured here is our number, whoever trained the weights
        assert {value.quantity.source for value in model.values} <= {MEASURED_HERE}
    assert {run.source for run in parsed.runs} == {SOURCE.name}


@pytest.mark.parametrize("reader", FORMATS)
def test_values_lie_in_the_bounds_of_their_measure(reader: type[Importer], tmp_path: Path) -> None:
    for block in read(reader, sample(reader, tmp_path)).blocks:
        values = np.atleast_1d(np.asarray(block.columns.get("value", []), dtype=float))
        for quantity, value in zip(quantities(block) * len(values), values, strict=False):
            low, high = quantity.measure.lower_bound, quantity.measure.upper_bound
            assert low is None or value >= low, quantity.measure.name
            assert high is None or value <= high, quantity.measure.name


@pytest.mark.parametrize("reader", FORMATS)
def test_its_blocks_make_a_shard(reader: type[Importer], tmp_path: Path) -> None:
    parsed = read(reader, sample(reader, tmp_path))
    builder = ShardBuilder(kind="import")
    for run in parsed.runs:
        builder.run(run)
    for block in parsed.blocks:
        subjects = [block.subject] if isinstance(block.subject, Run | Checkpoint) else block.subject
        owners = [builder.run(s) if isinstance(s, Run) else builder.checkpoint(s) for s in subjects]
        owner = owners[0] if isinstance(block.subject, Run | Checkpoint) else np.array(owners)
        index = np.array([builder.quantity(q) for q in quantities(block)])
        quantity = int(index[0]) if isinstance(block.quantity, Quantity) else index
        part = {"part": builder.part(block.part)} if block.part.name else {}
        builder.add(block.table, owner, quantity, **part, **block.columns)
        builder.cells(owner, quantity)

    assert (builder.write(tmp_path / "inbox") / "manifest.json").is_file()


@pytest.mark.parametrize("reader", FORMATS)
def test_the_same_file_gives_the_same_result(reader: type[Importer], tmp_path: Path) -> None:
    path = sample(reader, tmp_path)
    a, b = read(reader, path), read(reader, path)

    assert list(a.runs) == list(b.runs)
    for one, other in zip(a.blocks, b.blocks, strict=True):
        assert [q.hash for q in quantities(one)] == [q.hash for q in quantities(other)]
        for name, values in one.columns.items():
            one_values, other_values = (np.asarray(v, object).tolist() for v in (values, other.columns[name]))
            assert repr(one_values) == repr(other_values)  # NaN is NaN here


@pytest.mark.parametrize("reader", FORMATS)
def test_a_file_cut_off_anywhere_is_refused_or_misses_whole_records_at_its_end(
    reader: type[Importer], tmp_path: Path
) -> None:
    path = sample(reader, tmp_path)
    data = path.read_bytes()
    whole = sum(block.n_rows for block in read(reader, path).blocks)
    for length in sorted(
        {0, 1, len(data) // 2, *random.Random(0).sample(range(len(data) - 1), min(150, len(data) - 1))}
    ):
        path.write_bytes(data[:length])
        try:
            parsed = read(reader, path)
        except Damaged:
            continue
        rows = sum(block.n_rows for block in parsed.blocks)
        if any("cut off" in note for note in parsed.notes) or (reader.binary and rows < whole):
            continue  # it says so, or was cut between two records
        ends_a_record = data[length - 1 : length] in (b"}", b"\n") or data[length : length + 1] in (
            b"",
            b"\n",
            b"\r",
        )
        assert ends_a_record, f"{reader.name} takes a file cut off after byte {length} of {len(data)}"
        assert rows <= whole


@pytest.fixture
def measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights are measured once: damage beside them makes no difference to that.

    Of weights that are damaged themselves a dozen are: measuring takes longer than all the reading.
    """
    measure = grokking_runs.measure_model
    known: dict[tuple[str, str], list[MeasuredValue]] = {}

    def once(model: LoadedModel, setting: Setting) -> list[MeasuredValue]:
        key = model.weights_hash, repr(setting)
        if key not in known and len(known) < 12:
            known[key] = measure(model, setting)
        return known.get(key, [])

    monkeypatch.setattr(grokking_runs, "measure_model", once)


@pytest.mark.usefixtures("measured_once")
@pytest.mark.parametrize("reader", FORMATS)
def test_a_flipped_byte_is_refused_or_read_but_never_a_crash(reader: type[Importer], tmp_path: Path) -> None:
    path = sample(reader, tmp_path)
    data = path.read_bytes()
    dice = random.Random(1)
    for _ in range(200):
        broken = bytearray(data)
        broken[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(bytes(broken))
        with contextlib.suppress(Damaged):
            read(reader, path)


def test_measures_that_are_computed_here_too_have_the_same_definition(tmp_path: Path) -> None:
    """The committer refuses a measure whose definition differs from the stored one."""
    from ingest.train.log import LOG_METRICS

    here = {m.name: m for m in (e.thing.record for e in MEASURES.entries().values())}
    here |= {m.measure.name: m.measure for m in LOG_METRICS}
    shared = 0
    for number, entry in enumerate(IMPORTERS.entries().values()):
        for block in read(entry.thing, sample(entry.thing, tmp_path / str(number))).blocks:
            for quantity in quantities(block):
                ours = here.get(quantity.measure.name)
                if ours is not None and ours.version == quantity.measure.version:
                    same = {"scope", "table", "unit", "lower_bound", "upper_bound", "direction"}
                    assert quantity.measure.model_dump(include=same) == ours.model_dump(include=same)
                    shared += 1
    assert shared >= 4  # log.loss, log.accuracy, head.previous_token, head.first_token


def test_a_format_that_declares_too_little_is_refused() -> None:
    class Silent(Importer):
        """Says nothing."""

        name = "silent"

    with pytest.raises(RegistrationRefused, match=r"Silent in .* does not declare \['title', 'reads'"):
        importer(Silent)
    Silent.title, Silent.reads, Silent.suffixes, Silent.base, Silent.units = "t", " ", (".x",), 0, "u"
    with pytest.raises(RegistrationRefused, match="has no reads"):
        importer(Silent)
    with pytest.raises(UnknownName):
        IMPORTERS.get("silent")
