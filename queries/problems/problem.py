"""What an entry of the catalogue of open problems says. Data only: an entry knows no archive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# archive: asked of results; interventions: of runs trained with something changed, or models patched, which is later
# work; checkpoints: of published models whose weights only the hub has; exploratory: looking around, nothing is tested
Kind = Literal["archive", "interventions", "checkpoints", "exploratory"]

# stand for the two runs of a lineage in the parameters of a question
BASE, TUNED = "{base}", "{tuned}"
# stands for the eval set that the first need was found on
EVAL_SET = "{eval_set}"
# what a curve is judged by takes 16 checkpoints after step 0 (queries/stats/smooth_null.py): of fewer nothing can be said
JUDGED = 17


@dataclass(frozen=True)
class Need:
    """Numbers that a question reads of every run.

    any_of: names of measures as the archive has them, any one will do. on: pattern of the eval set's name. steps: the
    least number of checkpoints; a training log counts as enough. fill: what `ingest --fill` calls it, where that is not the
    name. Where a question has several needs, runs are told apart by the eval set of the first.
    """

    any_of: tuple[str, ...]
    on: str = "*"
    steps: int = 1
    fill: str = ""

    @classmethod
    def of(cls, *measures: str, on: str = "*", steps: int = 1, fill: str = "") -> "Need":
        """A need of any one of these measures."""
        return cls(measures, on, steps, fill)

    @property
    def to_fill(self) -> str:
        """What `pathscope ingest --fill` measures."""
        return self.fill or self.any_of[0]

    @property
    def words(self) -> str:
        """The measures, on what, and how often, in words."""
        where = "" if self.on == "*" else f" on '{self.on}'"
        often = f" at {self.steps} checkpoints or more" if self.steps > 1 else ""
        return " or ".join(self.any_of) + where + often


@dataclass(frozen=True)
class Question:
    """One query that answers a problem, or a part of it, and what it takes to give an answer at all.

    query: its name; one that is not registered is later work. asks: what it tells about the problem. parameters: other than
    their defaults; values may be `BASE`, `TUNED` and `EVAL_SET`. runs: least runs; repeats: least runs of one condition;
    conditions: least conditions with as many repeats; same_init: least runs with one init; lineage: it is about runs that go
    on from another ("tuned"), or about such a run and that other ("pair"); arms: which runs with interventions it needs,
    empty for none.
    """

    query: str
    asks: str
    needs: tuple[Need, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    runs: int = 1
    repeats: int = 1
    conditions: int = 1
    same_init: int = 1
    lineage: Literal["", "tuned", "pair"] = ""
    arms: str = ""


@dataclass(frozen=True)
class Problem:
    """One open problem.

    number: as in "200 concrete open problems in mechanistic interpretability", part 5 (5.21, 5.3a), or a name of its own.
    title, statement: in our words. questions: what answers it, the main one first. limit: what an answer cannot
    tell. families: published models that the problem speaks of. studies: what would fill the cells, by name, that for runs
    of one's own first. imports: the command that brings published numbers in, where they are no models.
    """

    number: str
    title: str
    group: str
    statement: str
    questions: tuple[Question, ...]
    limit: str
    kind: Kind = "archive"
    families: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    imports: str = ""

    @property
    def measures(self) -> tuple[str, ...]:
        """Every measure that its questions read, each once."""
        names = (name for question in self.questions for need in question.needs for name in need.any_of)
        return tuple(dict.fromkeys(names))
