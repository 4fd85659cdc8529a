"""Facts about published series of models, as data: what `families/catalogue/*.toml` may say. Imports no torch.

A file names its evidence once, and every fact points to it: "source" was read in the authors' own code,
data or documentation, "page" on a public page such as a model card, "issue" is what users reported upstream,
"unverified" is hearsay. Nothing here was checked against downloaded weights.
"""

import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from archive.records import Integrity

if TYPE_CHECKING:
    from ingest.models.layout import Layout

FOLDER = Path(__file__).resolve().parent / "families" / "catalogue"
BOS_POLICIES = Literal["none", "always", "unknown"]
Count = Annotated[int, Field(ge=1)]


class Facts(BaseModel):
    """Base of everything in a catalogue file: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(Facts):
    """How something is known, and where it was seen."""

    kind: Literal["source", "page", "issue", "unverified"]
    where: Annotated[str, Field(min_length=1)]

    @property
    def verified(self) -> bool:
        """False for what was only reported or heard."""
        return self.kind in ("source", "page")

    def __str__(self) -> str:
        words = {"source": "", "page": "public page: ", "issue": "reported: ", "unverified": "UNVERIFIED: "}
        return f"{words[self.kind]}{self.where}"


class Labels(Facts):
    """Some checkpoint labels: listed, a range by a fixed distance, or a range by doubling."""

    at: tuple[int, ...] = ()
    first: int | None = None
    last: int | None = None
    every: int | None = None
    doubling: bool = False

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        ranged = self.first is not None and self.last is not None
        if self.at if ranged else not self.at:
            raise ValueError("give either `at`, or `first` and `last`")
        if ranged and self.doubling == (self.every is not None):
            raise ValueError("a range needs either `every` or `doubling = true`")
        return self

    def __iter__(self) -> Iterator[int]:  # type: ignore[override] # a set of labels, not pydantic's pairs
        yield from self.at
        if self.first is None or self.last is None:
            return
        label = self.first
        while label <= self.last:
            yield label
            label = 2 * label if self.doubling else label + (self.every or 1)


class Schedule(Facts):
    """Which checkpoints a run has, and what their revisions are called.

    revision: with `{label}`. count: how many labels the pieces must give, so that a slip in them is found.
    listed: in place of these, for a schedule that is no formula: what is known of it before the repository's files
    are listed, when it is first fetched.
    """

    pieces: tuple[Labels, ...] = ()
    revision: str = ""
    count: Annotated[int, Field(ge=0)] = 0
    listed: str = ""
    evidence: str

    @model_validator(mode="after")
    def _gives_what_it_says(self) -> Self:
        labels = self.labels
        if bool(self.listed) == bool(labels and self.revision):
            raise ValueError("give either `pieces` and `revision`, or `listed`")
        if len(labels) != self.count or list(labels) != sorted(set(labels)):
            raise ValueError(
                f"{len(labels)} labels, of which some may repeat or go back; expected {self.count}"
            )
        return self

    @property
    def labels(self) -> tuple[int, ...]:
        """All labels, increasing."""
        return tuple(label for piece in self.pieces for label in piece)


class Size(Facts):
    """One model size. n_params: all parameters, embeddings and unembedding included, tied ones once."""

    n_layers: Count
    d_model: Count
    n_heads: Annotated[int, Field(ge=0)]
    d_mlp: Annotated[int, Field(ge=0)]
    d_vocab: Count
    context: Count
    n_params: Count
    former: str = ""  # what the size was called before it was renamed
    evidence: str

    @classmethod
    def of_layout(cls, layout: "Layout", evidence: str) -> "Size":
        """The sizes of a small transformer."""
        return cls(
            n_layers=layout.n_layers,
            d_model=layout.d_model,
            n_heads=layout.n_heads,
            d_mlp=layout.d_mlp,
            d_vocab=layout.n_tokens,
            context=layout.n_positions,
            n_params=layout.n_params,
            evidence=evidence,
        )


class Series(Facts):
    """Runs that differ in size and in what `members` says; texts are templates over both.

    Placeholders: {size}, {former} and the keys of the members. init_seed, data_order_seed: templates of
    numbers; empty where not known. same_init, same_order: runs with equal text share their initial weights or
    the order of their data; empty where nothing is known. parent_run, intervention: for runs that go on from
    another one's weights: from which, and what was done. labels_per_step: labels count this many per
    optimiser update. condition: what the run is but for its seeds.
    """

    name: str
    repository: str
    sizes: tuple[str, ...]
    members: tuple[dict[str, str | int], ...] = ({},)
    aliases: tuple[str, ...] = ()
    condition: str
    init_seed: str = ""
    data_order_seed: str = ""
    same_init: str = ""
    same_order: str = ""
    parent_run: str = ""
    intervention: dict[str, str] = {}
    schedule: str
    tokens_per_step: Count | None = None
    labels_per_step: Count = 1
    final_step: Count | None = None  # where a listed schedule does not tell
    tokenizer: str = ""
    notes: tuple[str, ...] = ()
    evidence: str


class Defect(Facts):
    """What is odd about some published checkpoints. `integrity` "ok" marks a remark that excludes nothing.

    models: names of runs, `*` and `?` as in file names.
    """

    models: tuple[str, ...]
    labels: tuple[Labels, ...]
    integrity: Integrity
    what: str
    link: str
    evidence: str

    def concerns(self, model: str, label: int) -> bool:
        """True for this checkpoint."""
        return any(fnmatchcase(model, pattern) for pattern in self.models) and any(
            label in set(piece) for piece in self.labels
        )


class Fact(Facts):
    """Anything else worth knowing, with a value for programs or a sentence for people."""

    name: str
    value: int | float | bool | str
    evidence: str


class Catalogue(Facts):
    """One file: everything known of a family."""

    name: str
    summary: str
    citation: str
    licence: str
    architecture: str
    tokenizer: str
    bos: BOS_POLICIES
    files_under: str = ""  # family name in the archive, where another catalogue's family holds these runs
    evidence: dict[str, Evidence]
    schedule: dict[str, Schedule]
    size: dict[str, Size]
    series: tuple[Series, ...]
    defect: tuple[Defect, ...] = ()
    fact: tuple[Fact, ...] = ()

    @model_validator(mode="after")
    def _points_to_what_is_there(self) -> Self:
        for place, thing in self._with_evidence():
            if thing.evidence not in self.evidence:
                raise ValueError(f"{place} has evidence {thing.evidence!r}, which the file does not name")
        for series in self.series:
            if series.schedule not in self.schedule:
                raise ValueError(f"series {series.name} has no schedule {series.schedule!r}")
            if missing := set(series.sizes) - set(self.size):
                raise ValueError(
                    f"series {series.name} has sizes {sorted(missing)}, which the file does not describe"
                )
        return self

    def _with_evidence(self) -> Iterator[tuple[str, Schedule | Size | Series | Defect | Fact]]:
        yield from ((f"schedule {name}", schedule) for name, schedule in self.schedule.items())
        yield from ((f"size {name}", size) for name, size in self.size.items())
        yield from ((f"series {series.name}", series) for series in self.series)
        yield from ((f"defect {defect.what!r}", defect) for defect in self.defect)
        yield from ((f"fact {fact.name}", fact) for fact in self.fact)

    def evidence_of(self, thing: Schedule | Size | Series | Defect | Fact) -> Evidence:
        """How a thing of this file is known."""
        return self.evidence[thing.evidence]


@cache
def read_catalogue(name: str, folder: Path = FOLDER) -> Catalogue:
    """The catalogue of that name; pydantic's ValidationError says what a file has wrong."""
    with (folder / f"{name}.toml").open("rb") as handle:
        return Catalogue.model_validate({"name": name, **tomllib.load(handle)})


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with its placeholders replaced."""
    return template.format_map(values)
