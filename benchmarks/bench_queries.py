"""Every question that draws nothing, against its own SQL: the statements it sends that read results, into Arrow."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import numpy as np
import pyarrow as pa

from archive.store import Archive
from benchmarks.made_questions import archive_of_questions
from benchmarks.measured import Measured, words
from queries.registry import all_queries, find_query

# what reads little: finding runs and quantities takes longer than reading results
LEAST, PROMISED, TURNS = 0.05, 2.0, 9

# what takes long in these is no reading, or there is nothing to read
LEFT_OUT: Mapping[str, str] = {
    "nulls or intervals from random draws": (
        "capability_inclusion component_change divergent_runs early_prediction explain_component finetune_shift "
        "frequency_predictors key_frequency_history lottery_predictors match_heads neuron_formation output_agreement "
        "phase_transitions predict_first_composition predict_onset quanta_histogram rank_models same_implementation "
        "shared_roles trajectory_consistency trajectory_pca"
    ),
    "random orders, where events are many": "role_history transitions_per_position",
    "permutations of runs": "compare_transition_times smaller_beats_larger",
    "a jackknife over runs and documents": "agreement_by_difficulty path_dependence",
    "attention on stored texts and logit effects, which the made archive does not hold": "search_effects search_heads",
}
# held against every statement sent, those that find runs and quantities too: an exact test of every curve over the choice of
# its best checkpoint takes as long as reading it; eight quantities are found as long as few rows of theirs are read
COMPUTING = ("benchmark_curves", "grokking_progress")

TEN = ("run-0*",)  # two checkpoints of each of so many runs at once
QUESTIONS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("attention_pattern_catalogue", {}),
    ("benchmark_curves", {"task": "*"}),
    ("circuit_heads", {}),
    ("circuit_transition_rate", {}),
    ("composition_history", {"top": 200}),
    ("event_order", {}),
    ("grokking_progress", {}),
    ("head", {"layer": 2, "head": 3}),
    ("head_score_history", {"top": 72}),
    ("head_scores", {}),
    ("lead_lag", {}),
    ("loss_curves", {"measure": "log.loss"}),
    ("match_neurons", {}),
    ("neuron", {}),
    ("neuron_change", {"runs": TEN}),
    ("per_token_delta", {"runs": TEN}),
    ("replicate_induction_transition", {}),
    ("representation_similarity", {}),
    ("search_neurons", {"text": " w3"}),
    ("task_scores", {}),
    ("transition_times", {"measure": "log.accuracy", "level": 0.5}),
    ("universal_neurons", {}),
    ("variance_components", {"measure": "token_loss"}),
)

Statement = tuple[str, Mapping[str, object]]


def measure(folder: Path) -> Iterable[Measured]:
    """CPU seconds of one thread, opening the archive included on both sides."""
    asked_or_not = {name for name, _ in QUESTIONS} | set(" ".join(LEFT_OUT.values()).split())
    assert asked_or_not == set(all_queries()), asked_or_not ^ set(all_queries())
    archive = Archive(archive_of_questions(folder / "questions.duckdb").database)
    short: list[tuple[float, str]] = []
    for name, given in QUESTIONS:
        own = statements(archive, name, given)
        pairs = [(asking(archive, name, given), reading(archive, own)) for _ in range(TURNS)]
        ours, bare = (min(side) for side in zip(*pairs, strict=True))
        if bare < LEAST:
            short.append((ours - bare, name))
            continue
        asked = "".join(f", {key}={value!r}" for key, value in given.items())
        sql = f"all {len(own)} statements it sends" if name in COMPUTING else "its own SQL"
        what = f"{name}{asked}: {rows_of(archive, own):,} rows; {sql} (CPU seconds, one thread)"
        yield Measured(what, words(ours), words(bare), ours / bare, PROMISED)
    if short:
        most, least = max(short), min(short)
        few = f"{len(short)} questions whose SQL takes under {words(LEAST)}: what they take beyond it, most"
        yield Measured(
            f"{few} ({most[1]}) and least ({least[1]})", words(most[0]), words(least[0]), most[0] / least[0]
        )


def statements(archive: Archive, name: str, given: Mapping[str, object]) -> list[Statement]:
    """What a question sends that reads results, or all of it; fails where it draws random numbers."""
    sent: list[Statement] = []
    ask = Archive.query

    def listen(self: Archive, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        sent.append((sql, dict(parameters or {})))
        return ask(self, sql, parameters)

    def refuse(*_: Any) -> None:
        raise AssertionError(f"{name} draws random numbers: it does not belong here")

    find_query(name).ask(archive, **given)  # importing some of SciPy draws
    with patch.object(Archive, "query", listen), patch.object(np.random, "default_rng", refuse):
        answer = find_query(name).ask(archive, **given)
    assert answer.table.num_rows
    views = archive.query("SELECT view_name FROM duckdb_views() WHERE sql LIKE '%fact\\_%' ESCAPE '\\'")
    results = re.compile(
        rf"\b(?:FROM|JOIN) (fact_\w+|content_\w+|{'|'.join(views['view_name'].to_pylist())})\b"
    )
    own = [(sql, parameters) for sql, parameters in sent if name in COMPUTING or results.search(sql)]
    assert own
    return own


def asking(archive: Archive, name: str, given: Mapping[str, object]) -> float:
    """CPU seconds of the question."""
    began = time.process_time()
    with archive.session() as connection:
        connection.execute("SET threads = 1")
        find_query(name).ask(archive, **given)
    return time.process_time() - began


def reading(archive: Archive, own: Iterable[Statement]) -> float:
    """CPU seconds of its statements alone."""
    began = time.process_time()
    with opened(archive) as connection:
        for sql, parameters in own:
            connection.execute(sql, dict(parameters)).to_arrow_table()
    return time.process_time() - began


def rows_of(archive: Archive, own: Iterable[Statement]) -> int:
    """How many rows the statements return."""
    with opened(archive) as connection:
        return sum(
            connection.execute(sql, dict(parameters)).to_arrow_table().num_rows for sql, parameters in own
        )


@contextmanager
def opened(archive: Archive) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file alone, with one thread."""
    with duckdb.connect(archive.layout.database, read_only=True) as connection:
        connection.execute("SET threads = 1")
        yield connection
