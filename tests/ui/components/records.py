"""What the invented language models of `archive` are measured on, and by what."""

from typing import Any

from archive.records import Encoding, Measure, Quantity, Site, TextSet, Tokenizer

N_LAYERS, N_HEADS, N_UNITS = 2, 4, 6
N_DOCUMENTS, CONTEXT, K = 24, 40, 8
CHANCE = 0.025
HTML_WORD = ' <img src=x onerror="alert(1)"> &amp; **b** $x_1$'
WORDS = (
    *[
        "the",
        "of",
        "and",
        "to",
        "in",
        "a",
        "is",
        "that",
        "it",
        "was",
        "for",
        "on",
        "are",
        "as",
        "with",
        "his",
        "they",
        "at",
        "be",
        "this",
        "have",
        "from",
        "or",
        "one",
        "had",
        "by",
    ],
    *[
        "word",
        "but",
        "not",
        "what",
        "all",
        "were",
        "we",
        "when",
        "your",
        "can",
        "said",
        "there",
        "use",
        "an",
        "each",
        "which",
        "she",
        "do",
        "how",
        "their",
        "if",
        "will",
    ],
)
VOCABULARY = (
    "<|endoftext|>",
    "\n",
    "\n\n",
    "\t",
    ",",
    ".",
    "ing",
    "ed",
    HTML_WORD,
    *(f" {w}" for w in WORDS),
)
# of each word of the vocabulary
CLASSES = {"word_start": 1, "word_continuation": 2, "punctuation": 4, "whitespace": 5, "special": 6}
WORD_CLASSES = (6, 5, 5, 5, 4, 4, 2, 2, 4, *(1 for _ in WORDS))
DISTANCES = (0, 1, 2, 4, 8, 16)
PROFILE = (0.1, 0.05, 0.1, 0.15, 0.25, 0.35)

TOKENS = Tokenizer(hash="invented words", name="words", n_vocab=len(VOCABULARY))
BOOKS = TextSet(hash="invented books", name="books", n_documents=N_DOCUMENTS)
TEXT = Encoding(
    hash="invented text",
    name="books, 40 tokens",
    text_set="invented books",
    tokenizer="invented words",
    context_length=CONTEXT,
    n_sequences=N_DOCUMENTS,
    n_tokens=N_DOCUMENTS * CONTEXT,
    facts={"token_classes": CLASSES},
)
REPEATED = Encoding(
    hash="repeated tokens", name="repeated tokens", context_length=40, n_sequences=50, n_tokens=2000
)
MLP = Site(name="mlp.hook_post", hook_point="mlp.hook_post", width=N_UNITS)


def _measure(name: str, scope: str, table: str, summary: str, unit: str = "1", **given: Any) -> Measure:
    return Measure(name=name, scope=scope, table=table, summary=summary, unit=unit, **given)


def _score(name: str, summary: str, encoding: Encoding, **params: object) -> Quantity:
    bounds = {"lower_bound": 0.0, "upper_bound": 1.0}
    return Quantity(
        measure=_measure(name, "head", "fact_head", summary, "probability", **bounds),
        encoding=encoding,
        params=params,
    )


PREFIX = _score(
    "head.prefix_matching", "Attention to what followed last time.", REPEATED, variant="sum_targets"
)
PREFIX_TEXT = _score("head.prefix_matching", PREFIX.measure.summary, TEXT, variant="sum_targets")
LAST_TARGET = _score("head.prefix_matching", PREFIX.measure.summary, REPEATED, variant="last_target")
PREVIOUS = _score("head.previous_token", "Mean attention to the token before.", TEXT)
K_COMPOSITION = Quantity(
    measure=_measure("k_composition", "head pair", "fact_head_pair", "How much a head's output feeds keys."),
    weight_processing="fold_ln_center",
)
DISTANCE = Quantity(
    measure=_measure(
        "head.distance_profile", "vector", "fact_vector", "Attention by distance.", "probability"
    ),
    encoding=TEXT,
    params={"distances": list(DISTANCES)},
)
TOKEN_LOSS = Quantity(
    measure=_measure(
        "token_loss", "token", "fact_token", "Loss of every prediction.", "nats", lower_bound=0.0
    ),
    encoding=TEXT,
)
TOP = Quantity(
    measure=_measure("neuron.top", "unit top", "fact_neuron_top", "Largest activations.", "activation"),
    encoding=TEXT,
    params={"k": K},
    site=MLP,
)
STATISTICS = Quantity(
    measure=_measure("neuron.statistics", "unit", "fact_neuron", "Moments of activations.", "activation"),
    encoding=TEXT,
    site=MLP,
)
HISTOGRAM = Quantity(
    measure=_measure(
        "neuron.histogram", "unit histogram", "fact_histogram", "Counts of activations.", "count"
    ),
    encoding=TEXT,
    params={"every": 16},
    site=MLP,
)
EFFECT = Quantity(
    measure=_measure(
        "neuron.logit_effect", "unit vector", "fact_vector", "What it does to the logits.", "logits"
    ),
    params={"k": 5},
    weight_processing="fold_ln_center",
    site=MLP,
)
PATTERN = Quantity(
    measure=_measure("attention_pattern", "attention", "fact_attention", "Where heads look.", "probability"),
    encoding=TEXT,
    params={"items": 2, "positions": 16},
)
SIGNATURE = Quantity(
    measure=_measure("head.signature", "head vector", "fact_vector", "What a head does, in numbers."),
    encoding=TEXT,
    params={"labels": [f"number {k}" for k in range(24)]},
)
MATCHING = Quantity(
    measure=_measure("neuron_matching", "matched unit", "fact_pair_vector", "The most similar neuron."),
    encoding=TEXT,
    site=MLP,
)
