"""Archives for the Sizes page: three sizes of invented models, the small ones better on planted tokens, and what may be odd."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive.committer import commit_inbox
from archive.records import WHOLE, Checkpoint, Encoding, Family, Quantity, Run
from archive.shard import ShardBuilder
from tests.ui.archives import ACCURACY, HOSTILE, LOSS, exclude, new_archive
from tests.ui.components.records import (
    BOOKS,
    CONTEXT,
    HTML_WORD,
    N_DOCUMENTS,
    TEXT,
    TOKEN_LOSS,
    TOKENS,
    VOCABULARY,
    WORD_CLASSES,
)

Floats = NDArray[np.float64]

STEPS = (0, 10, 100, 1000)
SMALL, MIDDLE, LARGE = 10_000, 20_000, 40_000
TOKENS_PER_STEP = 500.0
# what the small models are better at, by LEAD nats; everywhere else the large ones are, by as much a doubling
PUNCTUATION, LEAD, GAIN, SPREAD = 4, 1.5, 0.4, 0.05
BETTER_AT = 2.5  # the loss that all have on punctuation were they not small
RIGHT = ACCURACY.model_copy(
    update={"name": "task_accuracy", "scope": "item", "table": "fact_item", "summary": "Right over wrong."}
)
PROMPTS = Encoding(
    hash="invented prompts", name="names", tokenizer="invented words", n_sequences=20, n_tokens=200
)
N_PROMPTS = 20


@dataclass(frozen=True)
class Sized:
    """One invented run of a size."""

    name: str
    n_params: int | None
    seed: int
    condition: str
    family: str = "invented-sizes"
    losses: bool = True
    tasks: bool = True
    suspect: bool = False
    gaps: bool = False


def token_ids() -> NDArray[np.int64]:
    """(document, position): words, a comma at every fifth place, a hostile word as the last, the start token first."""
    found = np.random.default_rng(7).integers(9, len(VOCABULARY), (N_DOCUMENTS, CONTEXT))
    found[:, 4::5] = VOCABULARY.index(",")
    found[:, -1] = VOCABULARY.index(HTML_WORD)
    found[:, 0] = 0
    return found


def is_small(n_params: int | None) -> bool:
    return n_params == SMALL


def predicted() -> NDArray[np.int64]:
    """(document, position): class of the token that each position predicts; 0 at the last, which predicts nothing."""
    classes = np.array(WORD_CLASSES)[token_ids()]
    found = np.zeros_like(classes)
    found[:, :-1] = classes[:, 1:]
    return found


def token_losses(run: Sized, step: int) -> Floats:
    """(document, position): as planted at the last step, alike for all sizes at step 0; the last position has none."""
    learned = step / STEPS[-1]
    found = 5.0 - learned * (1.0 + GAIN * np.log2((run.n_params or SMALL) / SMALL))
    values = np.full(predicted().shape, found)
    lead = LEAD if is_small(run.n_params) else 0.0
    values[predicted() == PUNCTUATION] = 5.0 - learned * (5.0 - BETTER_AT + lead)
    noise = np.random.default_rng([run.seed, run.n_params or 0]).uniform(-SPREAD, SPREAD, values.shape)
    values = values + noise
    values[:, -1] = np.nan
    if run.gaps:
        values[1] = np.nan
    return values


def loss(run: Sized, step: int) -> float:
    """The scalar: falls with the step, and by GAIN a doubling of the size."""
    learned = np.log1p(step) / np.log1p(STEPS[-1])
    gain = 1 + GAIN * np.log2((run.n_params or SMALL) / SMALL)
    return float(5 - learned * gain + 0.01 * run.seed)


def right(run: Sized) -> Floats:
    """(prompt,): 1 or 0; the small models are right on half, larger ones on three quarters."""
    n = N_PROMPTS // 2 if is_small(run.n_params) else 3 * N_PROMPTS // 4
    return (np.arange(N_PROMPTS) < n).astype(float)


def _content(shard: ShardBuilder, *, texts: bool) -> None:
    words = shard.tokenizer(TOKENS)
    books = shard.text_set(BOOKS)
    if not texts:
        return
    ids = np.arange(len(VOCABULARY))
    shard.add("content_vocab", words, token_id=ids, text=list(VOCABULARY), special=(ids == 0).tolist())
    documents = np.arange(N_DOCUMENTS)
    names = [f"book {k}" for k in documents]
    names[3] = f"book <b>3</b> {HOSTILE}"[:200]
    shard.add("content_document", books, document=documents, name=names, sha256="-")
    shard.add(
        "content_sequence",
        shard.encoding(TEXT),
        sequence=documents,
        document=documents,
        start=0,
        token_ids=token_ids().astype(np.int32),
        token_classes=np.array(WORD_CLASSES, np.int16)[token_ids()],
        unigram_surprisal=np.linspace(2.0, 9.0, len(VOCABULARY))[token_ids()],
    )
    shard.add(
        "content_item",
        shard.encoding(PROMPTS),
        item=np.arange(N_PROMPTS),
        sequence=np.arange(N_PROMPTS),
        position=9,
        correct_ids=[[1]] * N_PROMPTS,
        template=[f"t{k % 10}" for k in range(N_PROMPTS)],
    )


def _run(shard: ShardBuilder, run: Sized) -> None:
    shard.run(
        Run(
            name=run.name,
            family=run.family,
            condition=run.condition,
            init_seed=run.seed,
            n_params=run.n_params,
            tokens_per_step=TOKENS_PER_STEP,
            final_step=STEPS[-1],
        )
    )
    scalar, tokens, task = (
        shard.quantity(q)
        for q in (Quantity(measure=LOSS), TOKEN_LOSS, Quantity(measure=RIGHT, encoding=PROMPTS))
    )
    for step in STEPS:
        bad = run.suspect and step == STEPS[-1]
        note = "weights equal those of another step" if bad else ""
        point = shard.checkpoint(
            Checkpoint(run=run.name, step=step, integrity="defect" if bad else "ok", integrity_note=note)
        )
        value = np.nan if run.gaps and step == STEPS[1] else loss(run, step)
        shard.add("fact_scalar", point, scalar, part=shard.part(WHOLE), value=value)
        shard.cell(point, scalar)
        if run.losses and step in (STEPS[0], STEPS[-1]):
            values = token_losses(run, step)
            shard.add("fact_token", point, tokens, sequence=np.arange(N_DOCUMENTS), values=values)
            shard.cell(point, tokens)
        if run.tasks and step == STEPS[-1]:
            shard.add("fact_item", point, task, item=np.arange(N_PROMPTS), value=right(run))
            shard.cell(point, task)


def write(path: Path, runs: list[Sized], *, texts: bool = True) -> Path:
    """Commit the invented runs into the archive at `path` (made if missing)."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="measure")
    for family in dict.fromkeys(run.family for run in runs):
        shard.family(Family(name=family, summary="invented models of several sizes"))
    _content(shard, texts=texts)
    for run in runs:
        _run(shard, run)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def runs_of(n_params: int, layers: int, n: int = 3, **given: bool) -> list[Sized]:
    """Seeds of one size."""
    condition = f"corpus=books n_layers={layers} lr=0.01 #{layers}abc"
    return [Sized(f"m{layers}-s{k}", n_params, k, condition, **given) for k in range(n)]  # type: ignore[arg-type]


def sizes(path: Path) -> Path:
    """Three sizes of three seeds with everything."""
    return write(path, [*runs_of(SMALL, 1), *runs_of(MIDDLE, 2), *runs_of(LARGE, 4)])


def sizes_odd(path: Path) -> Path:
    """One and two runs a size, NaN, a suspect last checkpoint, an excluded run, a run of unknown size, no texts."""
    runs = [
        *runs_of(SMALL, 1, 1, gaps=True),
        *runs_of(LARGE, 4, 2, suspect=True, tasks=False),
        *runs_of(MIDDLE, 2, 1, losses=False, tasks=False),
        Sized("m-wrong", LARGE, 9, "corpus=books n_layers=4 lr=0.01 #4abc"),
        Sized("m-unsized", None, 5, "corpus=books n_layers=9 lr=0.01", losses=False),
    ]
    write(path, runs, texts=False)
    exclude(path, "m-wrong", "trained on the wrong split <b>by mistake</b>")
    return path


def sizes_hostile(path: Path) -> Path:
    """Names of 300 characters with HTML, Markdown and LaTeX in them."""
    family = f"family {HOSTILE}"[:310]
    runs = [
        Sized(f"{n} {k} {HOSTILE}"[:320], n, k, f"condition {HOSTILE} {n}"[-310:], family)
        for n in (SMALL, LARGE)
        for k in range(2)
    ]
    return write(path, runs)


def sizes_many(path: Path) -> Path:
    """More sizes than can be drawn, without losses of tokens."""
    runs = [Sized(f"m{k}", 1000 * (k + 1), 0, f"n_layers={k}", losses=False, tasks=False) for k in range(20)]
    return write(path, runs, texts=False)


SIZES_ARCHIVES = {
    "sizes": sizes,
    "sizes odd": sizes_odd,
    "sizes hostile": sizes_hostile,
    "sizes many": sizes_many,
}
