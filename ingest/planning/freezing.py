"""The eval sets of a load study, frozen once for every tokenizer its runs have. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path

from archive.errors import UsageError
from archive.store import Archive
from ingest.evalset import Given
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.stored import stored_text
from ingest.evalsets.tokenizing import ByteTokenizer, TextTokenizer
from ingest.studies.loading import LoadedRun, LoadStudy

Frozen = Mapping[str, FrozenEvalSet]


class Freezer:
    """Freezes eval sets on demand; two runs with one tokenizer share them.

    archive: where texts that were frozen before are found; None when there is no archive yet.
    """

    def __init__(self, study: LoadStudy, archive: Archive | None) -> None:
        self.study = study
        self.archive = archive
        self._tokenizers: dict[str, TextTokenizer] = {}
        self._frozen: dict[str, Frozen] = {}

    def of_run(self, run: LoadedRun) -> Frozen:
        """Every eval set of the study for a run, by label, in the study's order.

        Raises EvalSetRefused or TokenizerRefused naming the eval set, and TokenizerNotAvailable where the
        tokenizer's files cannot be had.
        """
        choices = self.study.file.eval_sets
        if not choices:
            return {}
        tokenizer = self._tokenizer(run)
        if run.spec.size is not None:
            tokenizer.refuse_unless_it_fits(run.name, run.spec.size.d_vocab)
        key = tokenizer.record.hash
        if key not in self._frozen:
            self._frozen[key] = {
                choice.label: choice.settings.freeze(self._given(choice.settings.stored_text, tokenizer))
                for choice in choices
            }
            self._refuse_twice(self._frozen[key])
        return self._frozen[key]

    def _refuse_twice(self, frozen: Frozen) -> None:
        known: dict[str, str] = {}
        for label, one in frozen.items():
            other = known.setdefault(one.encoding.hash, label)
            if other != label:
                raise UsageError(
                    f"{self.study.path}: eval sets {other!r} and {label!r} are the same tokens; take one of them out."
                )

    def _given(self, text: str | None, tokenizer: TextTokenizer) -> Given:
        stored = stored_text(self.archive, text) if self.archive is not None and text is not None else None
        return Given(tokenizer=tokenizer, folder=self.study.path.parent, stored=stored)

    def _tokenizer(self, run: LoadedRun) -> TextTokenizer:
        load = self.study.file.load
        key = load.tokenizer or run.spec.tokenizer or run.name
        if key not in self._tokenizers:
            self._tokenizers[key] = self._find_tokenizer(load.tokenizer, run)
        return self._tokenizers[key]

    def _find_tokenizer(self, named: str, run: LoadedRun) -> TextTokenizer:
        if named == "bytes":
            return ByteTokenizer.make()
        if named.startswith("path:"):
            from ingest.evalsets.hub_tokenizer import load_tokenizer

            folder = self.study.path.parent / Path(named.removeprefix("path:")).expanduser()
            return load_tokenizer(folder, name=folder.name)
        found = self.study.family.tokenizer(run.spec, self.study.load.source, named)
        if found is None:
            raise UsageError(
                f"{self.study.path}: nothing says which tokenizer {run.name} was trained with; write load.tokenizer: "
                '"bytes", a repository, or "path:FOLDER".'
            )
        return found
