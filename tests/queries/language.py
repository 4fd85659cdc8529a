"""Archives of language-model checkpoints with planted answers: texts, prompts, heads, pairs, neurons, outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archive.records import WHOLE, Encoding, Measure, Part, Quantity, Site, TextSet, Tokenizer
from queries.reading.roles import SCORES as HEAD_SCORES
from tests.queries.simulated import Simulation, measure

WORDS = Tokenizer(hash="words", name="words", n_vocab=40)
OTHER_WORDS = Tokenizer(hash="other words", name="other words", n_vocab=40)
BOOKS = TextSet(hash="books", name="books", n_documents=4)
TEXT = Encoding(
    hash="text",
    name="text",
    text_set="books",
    tokenizer="words",
    context_length=10,
    n_sequences=8,
    n_tokens=80,
)
OTHER_TEXT = Encoding(hash="other text", name="text", text_set="books", tokenizer="other words", n_tokens=80)
REPEATED = Encoding(hash="repeated", name="repeated", tokenizer="words", n_sequences=5, n_tokens=50)
IOI = Encoding(hash="ioi", name="ioi", tokenizer="words", n_sequences=12, n_tokens=120)
IOI_OTHERWISE = Encoding(hash="ioi otherwise", name="ioi", tokenizer="other words", n_tokens=120)
RHYMES = Encoding(hash="rhymes", name="rhymes", tokenizer="words", n_sequences=12, n_tokens=120)
MLP = Site(name="mlp.hook_post", hook_point="mlp.hook_post")

SHARE: dict[str, Any] = {
    "unit": "share",
    "direction": "higher is better",
    "lower_bound": 0.0,
    "upper_bound": 1.0,
}
SCORES: dict[str, Measure] = {
    "logit_diff": measure("logit_difference", "fact_item", scope="item", direction="higher is better"),
    "accuracy": measure("task_accuracy", "fact_item", scope="item", **SHARE),
    "top_accuracy": measure("top_accuracy", "fact_item", scope="item", **SHARE),
    "target_prob": measure("target_prob", "fact_item", scope="item", **SHARE),
}
TOKEN_TOP = Quantity(
    measure=measure("token_top", "fact_token_top", scope="token", direction="neither"),
    encoding=TEXT,
    params={"k": 3},
)
TOKEN_LOSS = Quantity(
    measure=measure("token_loss", "fact_token", scope="token", lower_bound=0.0), encoding=TEXT
)
PREFIX = measure("head.prefix_matching", "fact_head", scope="head", unit="probability", direction="neither")
PREFIX_HERE = Quantity(measure=PREFIX, encoding=REPEATED, params={"variant": "sum_targets"})
LAST_TARGET_HERE = Quantity(measure=PREFIX, encoding=REPEATED, params={"variant": "last_target"})
ICL = Quantity(
    measure=measure("icl_score", "fact_scalar", scope="part"), encoding=TEXT, params={"late": 9, "early": 1}
)
COPIES = Quantity(
    measure=measure("induction_loss", "fact_scalar", scope="part", direction="neither"), encoding=REPEATED
)
LATER, FIRST = Part(kind="copy", name="later"), Part(kind="copy", name="first")
PATTERN = Quantity(
    measure=measure(
        "attention_pattern", "fact_attention", scope="attention", unit="probability", direction="neither"
    ),
    encoding=TEXT,
)
DISTANCE = Quantity(
    measure=measure(
        "head.distance_profile", "fact_vector", scope="vector", unit="probability", direction="neither"
    ),
    encoding=TEXT,
    params={"distances": [0, 1]},
)
NEURON_TOP = Quantity(
    measure=measure("neuron.top", "fact_neuron_top", scope="neuron", unit="1", direction="neither"),
    encoding=TEXT,
    params={"k": 3},
    site=MLP,
)
NEURON_STATISTICS = Quantity(
    measure=measure("neuron.statistics", "fact_neuron", scope="neuron", unit="1", direction="neither"),
    encoding=TEXT,
    site=MLP,
)
NEURON_HISTOGRAM = Quantity(
    measure=measure("neuron.histogram", "fact_histogram", scope="histogram", unit="1", direction="neither"),
    encoding=TEXT,
    site=MLP,
)
FINAL_EXAMPLES = Quantity(
    measure=measure("neuron.final_examples", "fact_neuron", scope="unit", unit="1", direction="neither"),
    encoding=TEXT,
    params={"k": 3, "directions": 128, "seed": 0, "reference_step": 10**9},
    site=MLP,
)
LOGIT_EFFECT = Quantity(
    measure=measure("neuron.logit_effect", "fact_vector", scope="vector", direction="neither"),
    weight_processing="fold_ln_center",
    site=MLP,
)

CHANCE = {"prompts": 0.05, "repeats": 0.02}


def head_score(name: str, prompts: Encoding = IOI) -> Quantity:
    """The quantity behind a score that roles are made of."""
    score = HEAD_SCORES[name]
    if name == "prefix_matching":  # induction() plants it too
        return PREFIX_HERE
    named = measure(score.measure, "fact_head", scope="head", unit="probability", direction="neither")
    if score.on == "weights":
        return Quantity(measure=named, weight_processing="fold_ln_center")
    encoding = prompts if score.on == "prompts" else REPEATED
    return Quantity(measure=named, encoding=encoding, params=dict(score.params))


LOGIT_PARTS = Quantity(
    measure=measure("logit_attribution", "fact_scalar", scope="part", unit="logits", direction="neither"),
    encoding=IOI,
)


def composition(mode: str) -> Quantity:
    return Quantity(
        measure=measure(
            f"{mode}_composition", "fact_head_pair", scope="head pair", unit="1", direction="neither"
        ),
        weight_processing="fold_ln_center",
    )


def cell(s: Simulation, run: str, quantity: Quantity, step: int) -> tuple[int, int]:
    """A finished cell, with all that an encoding may name declared."""
    s.builder.tokenizer(WORDS)
    s.builder.tokenizer(OTHER_WORDS)
    s.builder.text_set(BOOKS)
    return s._cell(run, quantity, step, None)


def plant_texts(s: Simulation, bigram_surprisal: np.ndarray | None = None) -> None:
    """Words w0 ... w39; eight sequences of ten tokens, two of each of four documents; sequence q holds 4q + position.

    bigram_surprisal: (sequence, position) in nats; without it nothing is known of how hard tokens are.
    """
    b = s.builder
    owner = b.tokenizer(WORDS)
    ids = np.arange(40)
    b.add("content_vocab", owner, token_id=ids, text=[f" w{i}" for i in ids], special=False)
    texts = b.text_set(BOOKS)
    b.add("content_document", texts, document=np.arange(4), name=[f"book {k}" for k in range(4)], sha256="-")
    encoding = b.encoding(TEXT)
    tokens = 4 * np.arange(8)[:, None] + np.arange(10)
    b.add(
        "content_sequence",
        encoding,
        sequence=np.arange(8),
        document=np.arange(8) // 2,
        start=(np.arange(8) % 2) * 10,
        token_ids=tokens % 40,
        **({} if bigram_surprisal is None else surprisals(bigram_surprisal)),
    )


def surprisals(bigram: np.ndarray) -> dict[str, Any]:
    return {"unigram_surprisal": list(np.ones_like(bigram)), "bigram_surprisal": list(bigram)}


def plant_prompts(s: Simulation, encoding: Encoding, templates: Sequence[str]) -> None:
    owner = s.builder.encoding(encoding)
    s.builder.tokenizer(WORDS if encoding.tokenizer == "words" else OTHER_WORDS)
    n = np.arange(len(templates))
    s.builder.add(
        "content_item",
        owner,
        item=n,
        sequence=n,
        position=9,
        correct_ids=[[1]] * len(n),
        template=list(templates),
    )


def prompts(
    s: Simulation, run: str, step: int, values: Mapping[str, np.ndarray], encoding: Encoding = IOI
) -> None:
    """values: by the answer's column, one number per prompt."""
    for name, numbers in values.items():
        owner, q = cell(s, run, Quantity(measure=SCORES[name], encoding=encoding), step)
        s.builder.add("fact_item", owner, q, item=np.arange(len(numbers)), value=numbers)


def outputs(
    s: Simulation,
    run: str,
    step: int,
    probabilities: np.ndarray,
    *,
    k: int = 3,
    quantity: Quantity = TOKEN_TOP,
) -> None:
    """probabilities: (sequence, position, token)."""
    owner, q = cell(s, run, quantity, step)
    n, length, _ = probabilities.shape
    order = np.argsort(-probabilities, axis=2, kind="stable")[..., :k]
    top = np.take_along_axis(probabilities, order, 2)
    rest = np.clip(1 - top.sum(2, keepdims=True), 0, 1)
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.concatenate([top, rest], 2)).reshape(n * length, k + 1)
    ids = np.concatenate([order, np.full((n, length, 1), -1)], 2).reshape(n * length, k + 1)
    s.builder.add(
        "fact_token_top",
        owner,
        q,
        sequence=np.repeat(np.arange(n), length),
        position=np.tile(np.arange(length), n),
        token_ids=ids,
        log_probs=log_probs,
    )


def losses(
    s: Simulation, run: str, step: int, values: np.ndarray, *, quantity: Quantity = TOKEN_LOSS
) -> None:
    """values: (sequence, position)."""
    owner, q = cell(s, run, quantity, step)
    s.builder.add("fact_token", owner, q, sequence=np.arange(len(values)), values=values)


def pairs(s: Simulation, run: str, mode: str, step: int, z: np.ndarray, *, n_layers: int = 2) -> None:
    """z: (source head, destination head), for every pair of layers; its squared score has mean 0.0025 and sd 0.00025."""
    owner, q = cell(s, run, composition(mode), step)
    for src in range(n_layers):
        for dst in range(src + 1, n_layers):
            s.builder.add(
                "fact_head_pair",
                owner,
                q,
                src_layer=src,
                dst_layer=dst,
                values=[np.sqrt(0.0025 + 0.00025 * z).reshape(-1)],
                baselines=[np.full(z.size, 0.05)],
                z=[z.reshape(-1)],
            )


def neuron_top(
    s: Simulation, run: str, step: int, examples: Sequence[tuple[int, int, float]], *, unit: int = 0
) -> None:
    """examples: (sequence, position, activation), best first."""
    owner, q = cell(s, run, NEURON_TOP, step)
    sequences, positions, values = (list(column) for column in zip(*examples, strict=True))
    s.builder.add(
        "fact_neuron_top",
        owner,
        q,
        layer=0,
        unit=unit,
        sequences=[sequences],
        positions=[positions],
        values=[values],
    )


def neuron_beside(s: Simulation, run: str, step: int, *, firing_rate: float = 0.25) -> None:
    """Statistics of two neurons, a histogram and the logit effect of neuron 0."""
    owner, q = cell(s, run, NEURON_STATISTICS, step)
    for name, value in {
        "mean": 0.1,
        "variance": 1.0,
        "skew": 2.0,
        "kurtosis": 9.0,
        "firing_rate": firing_rate,
    }.items():
        part = s.builder.part(Part(kind="statistic", name=name))
        s.builder.add("fact_neuron", owner, q, part=part, layer=0, values=[[value, -1.0]])
    owner, q = cell(s, run, NEURON_HISTOGRAM, step)
    part = s.builder.part(WHOLE)
    s.builder.add(
        "fact_histogram", owner, q, part=part, layer=0, unit=0, lower=-1.0, upper=3.0, counts=[[70, 5, 4, 1]]
    )
    owner, q = cell(s, run, LOGIT_EFFECT, step)
    for name, values in {
        "top_tokens": [7.0, 3.0],
        "top_values": [0.9, 0.4],
        "bottom_tokens": [1.0, 0.0],
        "bottom_values": [-0.8, -0.2],
    }.items():
        part = s.builder.part(Part(kind="logit effect", name=name))
        s.builder.add("fact_vector", owner, q, part=part, layer=0, unit=0, values=[values])


def final_examples(
    s: Simulation, run: str, step: int, places: Mapping[str, np.ndarray], *, layer: int = 0
) -> None:
    """places: kind of place -> one activation a unit."""
    owner, q = cell(s, run, FINAL_EXAMPLES, step)
    for name, values in places.items():
        part = s.builder.part(Part(kind="statistic", name=name))
        s.builder.add("fact_neuron", owner, q, part=part, layer=layer, values=[values])


def head_looks(s: Simulation, run: str, step: int, *, layer: int = 0, head: int = 0) -> None:
    """A distance profile and one stored pattern of 2 × 2."""
    owner, q = cell(s, run, DISTANCE, step)
    part = s.builder.part(Part(kind="profile", name="distance"))
    s.builder.add("fact_vector", owner, q, part=part, layer=layer, unit=head, values=[[0.2, 0.8]])
    owner, q = cell(s, run, PATTERN, step)
    s.builder.add(
        "fact_attention",
        owner,
        q,
        item=3,
        layer=layer,
        head=head,
        n_query=2,
        n_key=2,
        values=[[1.0, 0.0, 0.5, 0.5]],
    )


def induction(
    s: Simulation,
    run: str,
    steps: Sequence[int],
    scores: Sequence[float] | np.ndarray,
    *,
    icl: Sequence[float] | np.ndarray | None = None,
    copies: Sequence[float] | np.ndarray | None = None,
    quantity: Quantity = PREFIX_HERE,
) -> None:
    """Best-head curve in L1H1 of 2 × 2 heads, the others at 0.01; in-context score and loss on later copies."""
    for k, step in enumerate(steps):
        heads = np.full((2, 2), 0.01)
        heads[1, 1] = max(scores[k], 0.011)
        cell(s, run, quantity, int(step))
        s.heads(run, int(step), heads, quantity=quantity, se=0.01, chance=0.0136)
        if icl is not None:
            s.scalar(run, ICL, int(step), {WHOLE: float(icl[k])})
        if copies is not None:
            s.scalar(run, COPIES, int(step), {LATER: float(copies[k]), FIRST: 5.0})


def head_scores(
    s: Simulation,
    run: str,
    step: int,
    scores: Mapping[str, np.ndarray],
    *,
    se: float | Mapping[str, np.ndarray] | None = 0.02,
    n_items: int | None = 100,
    prompts: Encoding = IOI,
) -> None:
    """scores: by the names of `queries.reading.roles.SCORES`, (layer, head); effects have no chance but 0, attention 1 in 20."""
    for name, values in scores.items():
        quantity = head_score(name, prompts)
        cell(s, run, quantity, step)
        effect = name in ("dla", "ablation")
        on = HEAD_SCORES[name].on
        beside: dict[str, Any] = {"chance": 0.0 if effect or on == "weights" else CHANCE[on]}
        if on != "weights" and se is not None:
            beside["se"] = se if isinstance(se, float) else se[name].reshape(-1)
        if n_items is not None:
            beside["n_items"] = n_items
        s.heads(run, step, np.asarray(values, float), quantity=quantity, **beside)


def logit_total(s: Simulation, run: str, step: int, value: float) -> None:
    """The logit difference that direct effects add up to."""
    cell(s, run, LOGIT_PARTS, step)
    parts = {Part(kind="component", name="total"): value, Part(kind="component", name="embedding"): 0.1}
    s.scalar(run, LOGIT_PARTS, step, parts)


def plant_eval_sets(s: Simulation) -> None:
    """Texts with the surprisal of their tokens, and prompts of two templates."""
    plant_texts(s, np.log1p(np.arange(80.0).reshape(8, 10)))
    plant_prompts(s, IOI, ["a", "a", "b", "b"])


def plant_checkpoints(
    s: Simulation, run: str, steps: Sequence[int], rise: np.ndarray, rng: np.random.Generator
) -> None:
    """A language model in which every question about one has an answer; its eval sets are planted before."""
    induction(s, run, steps, 0.01 + 0.89 * rise, icl=-0.1 - 0.3 * rise, copies=5 - 3 * rise)
    base = np.random.default_rng(0).normal(size=(8, 10, 6))
    for step, height in zip(steps, rise, strict=True):
        prompts(
            s, run, step, {"logit_diff": height + rng.normal(size=4), "accuracy": rng.integers(0, 2, 4) * 1.0}
        )
        exponentials = np.exp(base + 0.5 * rng.normal(size=base.shape))
        outputs(s, run, step, exponentials / exponentials.sum(2, keepdims=True))
        losses(s, run, step, rng.random((8, 10)))
        pairs(s, run, "k", step, rng.normal(size=(2, 2)) + 5 * height)
        neuron_top(
            s,
            run,
            step,
            [(int(q), int(rng.integers(10)), 3.0 - r) for r, q in enumerate(rng.permutation(8)[:3])],
        )
        neuron_beside(s, run, step)
        places = ("top", "held_out", "other_neuron", "random", "direction")
        final_examples(s, run, step, {name: height + rng.normal(size=4) for name in places})
        head_looks(s, run, step)
        mover = height * np.array([[0.0, 0.0], [0.0, 1.0]])
        head_scores(s, run, step, {"dla": 2 * mover, "end_to_io": 0.05 + 0.7 * mover, "copying_eig": mover})
