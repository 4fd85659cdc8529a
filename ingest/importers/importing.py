"""Importing a file or folder: find, recognise, parse, shard, commit.

Nothing is guessed and nothing stops at the first bad file: each is named with its reason, the others go in.
A file is known by source and path; the same bytes again add nothing, changed bytes replace what that file
gave and nothing else.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from archive.committer import commit_inbox, pending_shards
from archive.create import ensure_archive
from archive.errors import ArchiveBusy, UsageError
from archive.layout import Layout
from ingest.importers.base import IMPORTERS, Block, Damaged, Importer, ImportFile, Parsed
from ingest.importers.batch import Batch
from ingest.importers.claims import Claims
from ingest.importers.files import head_text, not_text, plain_files
from ingest.importers.report import ImportReport, Problem, SourceCount
from ingest.importers.sources import Attribution, SourceFinder, SourceSet, refuse_reserved_name
from ingest.importers.stored import StoredFiles, open_if_there, stored_cells

AUTO = "auto"


class Progress(Protocol):
    """Told after every file."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` files have been looked at."""


def import_results(
    archive: Path,
    path: Path,
    *,
    format_name: str = AUTO,
    given: Attribution | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import the file or folder at `path`; makes the archive when there is something to put in.

    format_name: a registered format, or `auto` to ask every format about every file. given: what is known
    of the source; the rest is looked for beside the files. Raises UsageError for a path that is not there
    and when no file is in a known format, ArchiveBusy when the archive stays held (what was read waits in
    its inbox).
    """
    known = IMPORTERS.entries().values()
    importers = [e.thing for e in known] if format_name == AUTO else [IMPORTERS.get(format_name)]
    return _Import(Layout.of(archive), path, importers, given or Attribution()).run(progress)


class _Import:
    """The state of one import."""

    def __init__(
        self, layout: Layout, path: Path, importers: Sequence[type[Importer]], given: Attribution
    ) -> None:
        self.layout = layout
        self.path = Path(os.path.abspath(path.expanduser()))  # no `..`: folders above are looked at
        if not self.path.exists():
            raise UsageError(f"nothing at {self.path}: give a file or a folder of published results.")
        self.importers = importers
        self.given = given
        self.finder = SourceFinder(self.path, given)
        self.report = ImportReport()
        self.readers: dict[tuple[str, str], Importer] = {}
        self.batches: dict[tuple[str, str], Batch] = {}
        self.claims: dict[str, Claims] = {}
        self.recognised_any = False
        if layout.database.exists() and pending_shards(layout):
            commit_inbox(layout)  # what an interrupted import left behind is known from here on
        self.archive = open_if_there(str(layout.database))
        self.stored = StoredFiles.of(self.archive)

    def run(self, progress: Progress | None) -> ImportReport:
        """Look at every file, then commit."""
        candidates = self._candidates()
        self._one_root_per_source(candidates)
        for done, path in enumerate(candidates, start=1):
            try:
                self._take(path)
            except Damaged as damage:
                self._problem(path, str(damage))
            if progress is not None:
                progress(done, len(candidates))
        if not self.recognised_any:
            raise UsageError(self._nothing_recognised(len(candidates)))
        for batch in self.batches.values():
            self._write(batch)
        if self.report.n_files:
            self._commit()
        return self.report

    # --- which files -----------------------------------------------------------------------------------

    def _candidates(self) -> list[Path]:
        """Files with a suffix of the formats asked for; a file named on the command line is always one."""
        suffixes = {s for i in self.importers for s in i.suffixes}
        found = []
        for file in plain_files(self.path):
            if file.suffix.lower() in suffixes or file == self.path:
                found.append(file)
            else:
                self.report.ignored[file.suffix.lower() or "(no suffix)"] += 1
        return found

    def _one_root_per_source(self, files: Sequence[Path]) -> None:
        roots: dict[str, Path] = {}
        for file in files:
            belongs = self.finder.of(file)
            refuse_reserved_name(belongs.source.name)
            other = roots.setdefault(belongs.source.name, belongs.root)
            if other != belongs.root:
                raise UsageError(
                    f"{other} and {belongs.root} would both be source {belongs.source.name!r}: import them one at a "
                    f"time, each with its own --source-name."
                )

    def _nothing_recognised(self, n_candidates: int) -> str:
        seen = Counter(self.report.ignored)
        seen.update(Path(p.path).suffix.lower() or "(no suffix)" for p in self.report.problems)
        if not seen:
            return f"{self.path} holds no files; nothing to import."
        counts = ", ".join(f"{n} {suffix}" for suffix, n in sorted(seen.items()))
        reasons = "".join(f"\n  {p.path}: {p.reason}" for p in self.report.problems[:10])
        more = f"\n  and {n_candidates - 10} more" if n_candidates > 10 else ""
        wanted = self.importers[0].name if len(self.importers) == 1 else "a known format"
        return (
            f"nothing in {wanted} at {self.path}; it holds {counts}.{reasons}{more}\n"
            f"`pathscope import --list` says what each format looks like."
        )

    # --- one file --------------------------------------------------------------------------------------

    def _take(self, path: Path) -> None:
        """Import one file; raises Damaged with the reason when it cannot go in."""
        belongs = self.finder.of(path)
        with self._timed("parse"):
            file = ImportFile.load(path, path.relative_to(belongs.root).as_posix())
            if self._is_known(file, belongs):
                self.recognised_any = True
                return
            importer = self._recognise(file)
            self.recognised_any = True
            self._refuse_taken_name(file, belongs)
            parsed = self._parse(importer, file, belongs)
        with self._timed("shards"):
            blocks, objection = self._claims_of(belongs).claim(
                file.relative, parsed.blocks, indivisible=parsed.indivisible
            )
        if objection:
            self._problem(path, objection)
        if blocks or (parsed.models and not objection):
            self._collect(importer.name, file, belongs, parsed, blocks)

    def _is_known(self, file: ImportFile, belongs: SourceSet) -> bool:
        """True when the archive has these bytes under this name, or under one from another folder."""
        before = self.stored.by_name.get((belongs.source.name, file.relative))
        if before is not None and before.sha256 == file.sha256:
            self.report.n_known += 1
            return True
        if before is None:
            # a name given by hand says whose they are, even if another source has the same files
            same = self.stored.same_elsewhere(file.relative, file.sha256, source=self.given.name)
            if same is not None:
                self.report.known_elsewhere[same.source] += 1
                return True
        return False

    def _refuse_taken_name(self, file: ImportFile, belongs: SourceSet) -> None:
        """Keep two unrelated folders of one name from replacing each other's rows."""
        before = self.stored.by_name.get((belongs.source.name, file.relative))
        if before is None or before.folder in ("", str(belongs.root)):
            return
        if not (self.given.name or belongs.found):
            raise Damaged(
                f"source {before.source!r} has another file of this name, imported from {before.folder}: "
                f"--source-name {before.source} replaces its rows, another name keeps both"
            )

    def _recognise(self, file: ImportFile) -> type[Importer]:
        suffix = file.path.suffix.lower()
        binary = [i for i in self.importers if i.binary and suffix in i.suffixes]
        if len(binary) == 1 and binary[0].recognises_bytes(file.head):
            return binary[0]
        if reason := not_text(file.head if file.data is None else file.data):
            raise Damaged(reason)
        head = head_text(file.head)
        found = [i for i in self.importers if i.recognises(head)]
        if len(found) == 1:
            return found[0]
        if found:
            names = " and as ".join(i.name for i in found)
            raise Damaged(f"recognised as {names}: name the format instead of `{AUTO}`")
        expected = f"not {self.importers[0].name}" if len(self.importers) == 1 else "in no known format"
        raise Damaged(f"{expected}; it begins with {' '.join(head[:200].split())[:60]!r}")

    def _parse(self, importer: type[Importer], file: ImportFile, belongs: SourceSet) -> Parsed:
        key = (belongs.source.name, importer.name)
        if key not in self.readers:
            self.readers[key] = importer(belongs.source)
        try:
            parsed = self.readers[key].parse(file)
        except Damaged:
            raise
        except Exception as error:  # one odd file must not keep the others out
            raise Damaged(f"{importer.name} cannot read it: {type(error).__name__}: {error}") from error
        self.report.notes.update(set(parsed.notes))
        return parsed

    def _claims_of(self, belongs: SourceSet) -> Claims:
        name = belongs.source.name
        if name not in self.claims:
            self.claims[name] = Claims()
            if self.archive is not None and self.stored.has_source(name):
                self.claims[name].load(stored_cells(self.archive, name))
        return self.claims[name]

    def _collect(
        self, format_name: str, file: ImportFile, belongs: SourceSet, parsed: Parsed, blocks: Sequence[Block]
    ) -> None:
        key = (belongs.source.name, format_name)
        if key not in self.batches:
            self.batches[key] = Batch(belongs.source, format_name, belongs.root)
        batch = self.batches[key]
        if batch.full or not batch.fits(parsed):
            self._write(batch)
        with self._timed("shards"):
            n_rows = batch.add(file, parsed, blocks)
        count = self.report.sources.setdefault(belongs.source.name, SourceCount(belongs.source))
        count.formats.add(format_name)
        count.n_files += 1
        count.n_rows += n_rows
        if (belongs.source.name, file.relative) in self.stored.by_name:
            self.report.replaced.append(file.relative)

    # --- into the archive ------------------------------------------------------------------------------

    def _write(self, batch: Batch) -> None:
        ensure_archive(self.layout.database)
        with self._timed("shards"):
            batch.write(self.layout.inbox)

    def _commit(self) -> None:
        with self._timed("commit"):
            try:
                self.report.commit = commit_inbox(self.layout)
            except ArchiveBusy as error:
                raise ArchiveBusy(
                    f"{error} What was read waits in {self.layout.inbox}: `pathscope commit` enters it."
                ) from None

    def _problem(self, path: Path, reason: str) -> None:
        shown = path.name if path == self.path else path.relative_to(self.path).as_posix()
        self.report.problems.append(Problem(shown, reason))

    @contextmanager
    def _timed(self, part: Literal["parse", "shards", "commit"]) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            timings = self.report.timings
            setattr(timings, part, getattr(timings, part) + time.perf_counter() - start)
