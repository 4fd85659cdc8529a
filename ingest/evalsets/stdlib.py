"""A corpus that every Python brings along: the sources of its standard library."""

import platform
import sysconfig
from pathlib import Path

from pydantic import Field

from ingest.evalset import Given, eval_set
from ingest.evalsets.documents import Document, Documents
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.windows import TextEvalSet

# other people's packages; tests, some of them malformed on purpose; files that depend on how Python was built
_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "lib2to3",
    "idlelib",
    "turtledemo",
    "pydoc_data",
    "ensurepip",
)
_BUILD = ("_sysconfigdata", "config-")
LICENCE = "PSF-2.0"


@eval_set("stdlib", citation="the Python standard library, Python Software Foundation License 2")
class StandardLibrary(TextEvalSet):
    """Sources of the Python standard library, for an eval set that needs no download.

    The sources differ between versions and builds. So the first archive-wide use freezes them: from then on the texts
    stored under that name count, whatever Python reads them.
    """

    max_documents: int | None = Field(300, ge=1, description="how many modules at most")

    @property
    def text_name(self) -> str:
        """What the text set is called, and found under again."""
        return self.name or "python-stdlib"

    @property
    def stored_text(self) -> str:
        """The stored text set is used as it is."""
        return self.text_name

    def documents(self, given: Given) -> Documents:
        """The stored texts where the archive has them, else those of this Python.

        Raises EvalSetRefused when the stored ones were chosen by other settings.
        """
        if given.stored is None:
            return self._of_this_python()
        chosen = given.stored.record.facts.get("choice")
        if chosen != self.choice.facts:
            raise EvalSetRefused(
                f"text set {self.text_name!r} was frozen in this archive with {chosen}, these settings say "
                f"{self.choice.facts}; give this eval set another name."
            )
        return given.stored

    def _of_this_python(self) -> Documents:
        found = standard_library()
        if not found:
            raise EvalSetRefused(
                f"this Python keeps no sources of its standard library in {sysconfig.get_path('stdlib')}; "
                'give texts of your own: kind = "text".'
            )
        return Documents.of(
            found,
            name=self.text_name,
            kind="stdlib",
            licence=LICENCE,
            choice=self.choice,
            facts={"python": platform.python_version()},
        )


def standard_library() -> list[Document]:
    """Every module of this Python's standard library that is text in UTF-8, by file name; none where it has no sources."""
    library = Path(sysconfig.get_path("stdlib"))
    found = []
    for file in sorted(library.rglob("*.py")):
        parts = file.relative_to(library).parts
        if set(_LEFT_OUT) & set(parts) or any(part.startswith(_BUILD) for part in parts):
            continue
        try:
            found.append(Document("/".join(parts), file.read_bytes().decode()))
        except UnicodeDecodeError:  # a few declare another encoding; they are no loss
            continue
    return found
