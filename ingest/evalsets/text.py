"""The user's own texts."""

from pathlib import Path

from pydantic import Field

from ingest.evalset import Given, eval_set
from ingest.evalsets.documents import Documents
from ingest.evalsets.reading import files_of, read_documents
from ingest.evalsets.windows import TextEvalSet


@eval_set(
    "text",
    citation="the user's files; protocol after Olsson et al. 2022, In-context learning and induction heads",
)
class TextFiles(TextEvalSet):
    """Text from .txt, .jsonl and .parquet files in UTF-8.

    Empty documents and repeated texts are left out and counted. Which file holds a text makes no difference to the
    set, nor does the order of files.
    """

    files: tuple[str, ...] = Field(
        min_length=1, description="files, folders or globs, relative to the study file"
    )
    text_field: str = Field("text", description="key (.jsonl) or column (.parquet) that holds the text")
    licence: str = Field("", description="under which the texts may be passed on")

    def inputs(self, folder: Path) -> list[Path]:
        """The files."""
        return files_of(self.files, folder)

    def documents(self, given: Given) -> Documents:
        """All documents of the files, as the budget allows."""
        return Documents.of(
            read_documents(self.files, self.text_field, given.folder),
            name=self.text_name,
            kind="text",
            licence=self.licence,
            choice=self.choice,
        )
