"""TensorBoard event files: records framed as TFRecord, each a protobuf `Event`; the scalars are the log of a run.

Framing: length (8 bytes, little endian), masked CRC32C of the length, data, masked CRC32C of the data
(tensorboard/compat/tensorflow_stub/io/tf_record in tensorflow/tensorboard). The messages are those of tensorboardX.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np

from archive.records import Family, Measure, Quantity, Run, Source
from ingest.importers.base import Block, Damaged, Importer, ImportFile, Parsed, importer
from ingest.importers.not_finite import NotFinite

EXTRA = "tensorboard"
CITATION = "https://github.com/tensorflow/tensorboard, tensorboard/backend/event_processing"
_VERSION = b"brain.Event:"
_SCALARS = "scalars"
# DT_FLOAT, DT_DOUBLE, DT_INT32, DT_INT64, DT_HALF of tensorflow's types.proto, and where short tensors are kept
_TYPES = {1: ("<f4", "float_val"), 2: ("<f8", "double_val"), 3: ("<i4", "int_val"), 9: ("<i8", "int64_val"),
          19: ("<f2", "half_val")}  # fmt: skip


@importer
class TensorBoard(Importer):
    """Every scalar tag is a log series of the run, which is called like its folder."""

    name = "tensorboard"
    title = "TensorBoard event files (one run a folder)"
    reads = "event files events.out.tfevents.*, scalars only; needs `pip install pathscope[tensorboard]`"
    suffixes = (".tfevents",)
    names = ("*.tfevents.*",)
    base: ClassVar[Literal[0, 1]] = 0
    units = "as logged; step is what the program gave"
    binary = True

    def __init__(self, source: Source) -> None:
        """`source` also names the runs: source/folders."""
        super().__init__(source)
        self._quantities: dict[str, Quantity] = {}

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Never: the files are binary."""
        return False

    @classmethod
    def recognises_bytes(cls, head: bytes) -> bool:
        """The first record is an event that says the version of events."""
        if len(head) < 16:
            return False
        length = int.from_bytes(head[:8], "little")
        return length < 1000 and _VERSION in head[12 : 12 + length]

    @classmethod
    def companions(cls, path: Path) -> list[Path]:
        """The event files of its folder: a run that was started again writes another file."""
        return sorted(p for p in path.parent.iterdir() if p.is_file() and cls.looks_at(p))

    def parse(self, file: ImportFile) -> Parsed:
        """One run with a series for each tag; raises Damaged naming the file and record that cannot be trusted."""
        folder = PurePosixPath(file.relative).parent
        log = _Log("/".join([self.source.name, *folder.parts]))
        for path in (file.path, *file.companions):
            log.read(path, named=bool(file.companions))
        run = Run(
            name=log.run,
            family=self.source.name,
            source=self.source.name,
            condition=folder.as_posix() if folder.parts else self.source.name,
            aliases=(folder.as_posix(),) if folder.parts else (),
        )
        blocks = [
            Block(
                "fact_log",
                run,
                self._quantity(tag),
                {"step": np.array(sorted(points)), "value": np.array([points[s] for s in sorted(points)])},
            )
            for tag, points in log.series.items()
            if points
        ]
        if not blocks:
            raise Damaged("no scalars in it" + "".join(f"; {note}" for note in log.notes()))
        family = Family(name=self.source.name, summary=f"training runs logged by {self.source.name}")
        return Parsed(runs=[run], blocks=blocks, families=[family], notes=log.notes(), indivisible=True)

    def _quantity(self, tag: str) -> Quantity:
        if tag not in self._quantities:
            measure = Measure(
                name=_measure_name(tag),
                scope="run",
                table="fact_log",
                unit="as logged",
                summary=f"Scalar {tag!r} of a TensorBoard log; what it means is its program's own.",
                citation=CITATION,
            )
            self._quantities[tag] = Quantity(
                measure=measure, dtype="unknown", weight_processing="unknown", source=self.source
            )
        return self._quantities[tag]


class _Log:
    """The scalars of a run by tag and step."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._not_finite = NotFinite()
        self.series: dict[str, dict[int, float]] = {}
        self._counts: Counter[str] = Counter()
        self._others: set[str] = set()
        self._cut = ""

    def read(self, path: Path, *, named: bool) -> None:
        """Add the events of a file to those of the files before it."""
        event_type = _event_type()
        where = f"{path.name}: " if named else ""
        for number, data in self._records(path, where):
            try:
                event = event_type.FromString(data)
            except Exception as error:  # protobuf's own, which differs between its implementations
                raise Damaged(f"{where}record {number} is no event: {error}") from None
            self._take(event)

    def _take(self, event: Any) -> None:
        if event.HasField("session_log") and event.session_log.status == event.session_log.START:
            self._restart(event.step)
        for value in event.summary.value:
            number = _scalar(value)
            if number is None:
                self._others.add(value.tag)
            elif not math.isfinite(number):
                self._not_finite.add(_measure_name(value.tag), self.run, [event.step])
            else:
                points = self.series.setdefault(value.tag, {})
                if event.step < 0:
                    raise Damaged(f"{value.tag} has step {event.step}, expected at least 0")
                if event.step in points:
                    self._counts["steps were logged again; the later value is kept"] += 1
                points[event.step] = number

    def _restart(self, step: int) -> None:
        """What was logged from this step on is void: TensorBoard drops it too."""
        for tag, points in self.series.items():
            if gone := [s for s in points if s >= step]:
                self._counts[
                    "points were logged before a restart from an earlier step and were left out"
                ] += len(gone)
                self.series[tag] = {s: v for s, v in points.items() if s < step}

    def _records(self, path: Path, where: str) -> Iterator[tuple[int, bytes]]:
        checksum = _checksum()
        number = offset = 0
        with path.open("rb") as handle:
            while header := handle.read(12):
                number += 1
                length = int.from_bytes(header[:8], "little")
                body = b""
                if len(header) == 12:
                    if checksum(header[:8]) != struct.unpack("<I", header[8:])[0]:
                        raise Damaged(f"{where}record {number} at byte {offset}: its length is damaged")
                    body = handle.read(length + 4)
                if len(body) < length + 4:
                    self._cut = (
                        f"{where}cut off in record {number} at byte {offset}; what is before it was taken"
                    )
                    return
                if checksum(body[:-4]) != struct.unpack("<I", body[-4:])[0]:
                    raise Damaged(
                        f"{where}record {number} at byte {offset} is damaged: its checksum is another"
                    )
                yield number, body[:-4]
                offset += 16 + length
        if not number:
            raise Damaged(f"{where}empty")

    def notes(self) -> list[str]:
        """What was left out."""
        notes = [*self._not_finite.notes(), *(f"{n} {words}" for words, n in self._counts.items())]
        if self._others:
            notes.append("tags that hold no numbers (images, histograms, texts) were left out")
        return notes + ([self._cut] if self._cut else [])


def _measure_name(tag: str) -> str:
    return f"tensorboard.{tag}"


def _scalar(value: Any) -> float | None:
    """The number of a summary's value: as older programs write it, or as a tensor of no dimension."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.tensor.tensor_shape.dim or value.tensor.dtype not in _TYPES:
        return None
    if value.metadata.plugin_data.plugin_name not in ("", _SCALARS):
        return None
    dtype, short = _TYPES[value.tensor.dtype]
    if value.tensor.tensor_content:
        return float(np.frombuffer(value.tensor.tensor_content, dtype)[0])
    numbers = getattr(value.tensor, short)
    if not numbers:
        return None
    bits = numbers[0]  # half precision is kept as the bits of an integer
    return float(np.array(bits, np.uint16).view(np.float16)) if short == "half_val" else float(bits)


def _event_type() -> Any:
    try:
        from tensorboardX.proto.event_pb2 import Event
    except ImportError as error:
        raise Damaged(_missing(error)) from None
    return Event


def _checksum() -> Any:
    try:
        from tensorboardX.record_writer import masked_crc32c
    except ImportError as error:
        raise Damaged(_missing(error)) from None
    return lambda data: masked_crc32c(data)


def _missing(error: ImportError) -> str:
    return f"event files are read with tensorboardX, which cannot be imported ({error}): `pip install 'pathscope[{EXTRA}]'`"
