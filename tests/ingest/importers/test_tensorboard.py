"""TensorBoard's event files, written by tensorboardX: series, restarts, cut off and damaged records."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive.records import Source
from archive.store import Archive
from ingest.importers.base import Damaged, ImportFile, Parsed
from ingest.importers.tensorboard import TensorBoard
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making_logs import SCALARS, write_events


def parse(path: Path) -> Parsed:
    file = ImportFile.load(path, f"runs/{path.name}").together(TensorBoard.companions(path)[1:])
    return TensorBoard(Source(name="set")).parse(file)


def series(parsed: Parsed) -> dict[str, dict[int, float]]:
    found = {}
    for block in parsed.blocks:
        steps, values = (np.asarray(block.columns[name]).tolist() for name in ("step", "value"))
        found[block.quantity.measure.name] = dict(zip(steps, values, strict=True))  # type: ignore[union-attr]
    return found


def test_scalars_become_the_log_of_the_folders_run(tmp_path: Path, archive: Archive, import_: Import) -> None:
    write_events(tmp_path / "set" / "lr1" / "seed0")
    write_events(tmp_path / "set" / "lr1" / "seed1", {"accuracy": {5: 0.5}})
    first, second = import_(tmp_path / "set"), import_(tmp_path / "set")

    assert (first.exit_code, first.n_files, first.n_rows) == (0, 2, 6)
    assert archive.rows(
        "SELECT run, measure, step, value, unit FROM v_log ORDER BY run, measure DESC, step"
    ) == [
        *(
            {
                "run": "set/lr1/seed0",
                "measure": f"tensorboard.{tag}",
                "step": step,
                "value": value,
                "unit": "as logged",
            }
            for tag, points in SCALARS.items()
            for step, value in points.items()
        ),
        {
            "run": "set/lr1/seed1",
            "measure": "tensorboard.accuracy",
            "step": 5,
            "value": 0.5,
            "unit": "as logged",
        },
    ]
    assert (second.n_known, second.n_files) == (2, 0)


def test_a_run_started_again_is_one_run_and_the_later_value_stays(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    folder = tmp_path / "set" / "run"
    write_events(folder, {"loss": {0: 4.0, 10: 3.0, 20: 2.0}}, suffix=".a")
    import_(tmp_path / "set")
    write_events(folder, {"loss": {10: 2.5, 15: 2.25}}, suffix=".b")
    report = import_(tmp_path / "set")

    assert (report.n_files, report.exit_code, len(report.replaced)) == (1, 0, 1)
    assert archive.rows("SELECT step, value FROM v_log ORDER BY step") == [
        {"step": s, "value": v} for s, v in ((0, 4.0), (10, 2.5), (15, 2.25), (20, 2.0))
    ]
    assert report.notes == {"1 steps were logged again; the later value is kept": 1}
    assert import_(tmp_path / "set").n_known == 1


def test_a_restart_that_says_so_voids_what_came_after_it(tmp_path: Path) -> None:
    path = write_events(tmp_path, {"loss": {0: 4.0, 10: 3.0, 20: 2.0}}, suffix=".a")
    write_events(tmp_path, {"loss": {10: 2.5}}, suffix=".b", purge=5)
    parsed = parse(path)

    assert series(parsed) == {"tensorboard.loss": {0: 4.0, 10: 2.5}}
    assert list(parsed.notes) == [
        "2 points were logged before a restart from an earlier step and were left out"
    ]


def test_a_cut_off_record_is_named_and_what_is_before_it_is_taken(tmp_path: Path) -> None:
    path = write_events(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    parsed = parse(path)

    assert sum(len(points) for points in series(parsed).values()) == 4
    [note] = parsed.notes
    assert note.startswith("cut off in record 6 at byte ")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path = write_events(tmp_path)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged, match=r"record 6 at byte \d+ is damaged: its checksum is another"):
        parse(path)
    length = int.from_bytes(data[:8], "little")
    data[16 + length] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged, match=rf"record 2 at byte {16 + length}: its length is damaged"):
        parse(path)


def test_what_is_no_number_is_left_out_with_a_note(tmp_path: Path) -> None:
    from tensorboardX import SummaryWriter

    path = write_events(tmp_path, {"loss": {0: 1.0, 1: float("nan"), 2: float("inf")}})
    assert series(parse(path)) == {"tensorboard.loss": {0: 1.0}}
    [note] = parse(path).notes
    assert note.startswith("tensorboard.loss: 2 NaN or infinite values gave no row: 2 of run ")
    assert note.endswith(" (steps 1 to 2)")
    with SummaryWriter(str(tmp_path / "texts")) as writer:
        writer.add_text("words", "hello", 0)
    [other] = (tmp_path / "texts").glob("*tfevents*")
    with pytest.raises(Damaged, match="no scalars in it; tags that hold no numbers"):
        parse(other)


@pytest.mark.parametrize(
    ("dtype", "field", "content"),
    [(1, "float_val", "<f4"), (2, "double_val", "<f8"), (3, "int_val", "<i4"), (9, "int64_val", "<i8")],
)
def test_scalars_written_as_tensors_are_read(tmp_path: Path, dtype: int, field: str, content: str) -> None:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    writer = EventsWriter(str(tmp_path / "events"), "")
    for step, raw in ((1, False), (2, True)):
        value: Any = Summary.Value(tag="x")
        value.metadata.plugin_data.plugin_name = "scalars"
        value.tensor.dtype = dtype
        if raw:
            value.tensor.tensor_content = np.array(3, content).tobytes()
        else:
            getattr(value.tensor, field).append(3)
        writer.write_event(Event(step=step, wall_time=0.0, summary=Summary(value=[value])))
    writer.close()
    [path] = tmp_path.glob("*tfevents*")

    assert series(parse(path)) == {"tensorboard.x": {1: 3.0, 2: 3.0}}


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_events(tmp_path)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tensorboardX"):
            raise ImportError("No module named 'tensorboardX'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Damaged, match=r"`pip install 'pathscope\[tensorboard\]'`"):
        parse(path)
