"""How often `smaller_beats_larger` on tokens finds a lead that is not there, and one that is.

    python -m tests.calibration.token_sizes [--replicates 1000] [--write]

Prints a table (minutes on one core); --write puts it into docs/statistics.md. The tests of the suite run some of its cells.
"""

import numpy as np

from queries.reading.size_losses import SharedLosses, TokenFacts
from queries.reading.size_pairs import SizePair
from queries.reading.token_categories import CATEGORIES, SortedTokens, sort_tokens
from queries.reading.token_sizes import compare_sizes, summary_row, with_q, with_verdict
from tests.calibration.tables import Lines, head, make_tables

N_DOCUMENTS, PER_DOCUMENT, N_WORDS, N_CLASSES = 30, 60, 30, 4
N = N_DOCUMENTS * PER_DOCUMENT
SEEDS = ((3, 3), (5, 5), (3, 8))
# what is planted: mean lead of the large everywhere, sd of leads that tokens of a document share, sd of each run's own lead in
# each class, lead of the small in class 0
PLANTED = {
    "alike": (0.0, 0.0, 0.0, 0.0),
    "runs differ in classes": (0.0, 0.0, 0.1, 0.0),
    "documents differ": (0.0, 0.2, 0.0, 0.0),
    "large better by 0.5": (0.5, 0.0, 0.0, 0.0),
    "small better by 0.3 in one class": (0.1, 0.0, 0.0, 0.3),
}


def planted(
    rng: np.random.Generator,
    n_small: int,
    n_large: int,
    lead: float,
    by_document: float,
    by_class: float,
    in_class: float,
) -> SortedTokens:
    """Losses of difficulty, each run's own level, and its noise by document and token; small runs first."""
    n_runs = n_small + n_large
    documents = np.arange(N_DOCUMENTS).repeat(PER_DOCUMENT)
    kind = rng.integers(0, N_CLASSES, N)
    token = rng.integers(0, N_WORDS, N)
    values = 3 + rng.gamma(2, 0.5, N) + 0.03 * rng.normal(size=(n_runs, 1))
    values = values + 0.5 * rng.normal(size=(n_runs, N)) * rng.gamma(20, 1 / 20, (n_runs, 1))
    values += 0.1 * rng.normal(size=(n_runs, N_DOCUMENTS))[:, documents]
    values += by_class * rng.normal(size=(n_runs, N_CLASSES))[:, kind]
    values[n_small:] -= lead
    values[:n_small] += by_document * rng.normal(size=N_DOCUMENTS)[documents]
    values[:n_small] -= np.where(kind == 0, in_class, 0.0)
    position = np.tile(np.arange(PER_DOCUMENT), N_DOCUMENTS)
    facts = TokenFacts(
        token, documents, position, kind, token / N_WORDS, rng.integers(0, 3, N), {k: f"class {k}" for k in range(N_CLASSES)}
    )  # fmt: skip
    losses = SharedLosses(tuple(range(n_runs)), values.astype(np.float32), documents, position, "")
    return sort_tokens(losses, facts, CATEGORIES)


def verdict(tokens: SortedTokens, n_small: int, fdr: float = 0.05) -> str:
    """The verdict on one archive."""
    runs = tokens.losses.run_ids
    found = compare_sizes(tokens, SizePair(runs[:n_small], runs[n_small:], "s", "l"), 0.0, 5, 0.95)
    return str(with_verdict(summary_row(found, tokens), found, with_q([found], fdr))["verdict"])


def rates(n_small: int, n_large: int, what: str, replicates: int, seed: int = 0) -> tuple[float, float]:
    """Shares of archives with the verdict yes and with no."""
    rng = np.random.default_rng(seed)
    found = [verdict(planted(rng, n_small, n_large, *PLANTED[what]), n_small) for _ in range(replicates)]
    return found.count("yes") / replicates, found.count("no") / replicates


def table(replicates: int) -> Lines:
    """Markdown: a row per number of runs, a column per what is planted; verdicts yes and no in %."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", *PLANTED)
    for n_small, n_large in SEEDS:
        cells = [rates(n_small, n_large, what, replicates) for what in PLANTED]
        shown = " | ".join(f"{100 * yes:.1f}, {100 * no:.1f}" for yes, no in cells)
        yield f"| {n_small} against {n_large} | {shown} |"


if __name__ == "__main__":
    make_tables("Calibrates the comparison of two sizes on tokens.", {"token-sizes": table})
