"""Why no quantity answers a question, in words that say how to ask instead."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from archive.errors import UnknownName, UsageError
from queries.reading.select import Selected

if TYPE_CHECKING:
    from queries.reading.quantities import Quantity, Which

# what must be equal for two numbers to be compared, with the words for it; versions are handled apart
VARIANT_FIELDS = {
    "eval_set": "eval set",
    "encoding_hash": "encoding",
    "params_json": "parameters",
    "weight_processing": "weight processing",
    "dtype": "dtype",
    "site": "site",
    "source": "source",
}


# measures that questions ask for by themselves, so that a missing one is no slip of the pen
ASKED_FOR = frozenset(
    (
        *("k_composition", "q_composition", "v_composition", "weight_products", "logit_products"),
        *(
            "head.ablation_effect",
            "head.logit_attribution",
            "head.prefix_matching",
            "head.signature",
            "neuron.final_examples",
        ),
    )
)


def unknown_measure(measures: Sequence[str], known: Iterable[str]) -> UsageError:
    """The archive has no such measure; `known` are those it has. What a question asks for by itself can be measured."""
    names = list(known)
    if measures[0] in ASKED_FOR:
        return UnknownName(
            f"no measure {measures[0]!r} in this archive; `pathscope ingest STUDY.toml --fill {measures[0]}` measures kept "
            f"checkpoints. `pathscope measures` lists {len(names)}."
        )
    return UnknownName.of("measure", measures[0], names, listing="`pathscope measures`")


# questions by the table they read, for a measure that another question was asked about
READERS = {
    "fact_scalar": "loss_curves and transition_times",
    "fact_log": "loss_curves and transition_times",
    "fact_position": "transitions_per_position",
    "fact_head": "head_scores and head_score_history",
    "fact_vector": "key_frequency_history and trajectory_pca",
    "fact_benchmark": "benchmark_curves",
    "fact_pair": "output_agreement and representation_similarity",
    "fact_pair_vector": "match_neurons and universal_neurons",
}


def who_reads(quantity: "Quantity") -> str:
    """Which question reads such a measure, or where questions are listed."""
    reader = READERS.get(quantity.table_name)
    return f"Try {reader}." if reader else "`pathscope queries` lists the questions."


def how_to_fill(wanted: Sequence["Quantity"]) -> str:
    """The command that measures more runs, as the end of a sentence; nothing for logs and published numbers."""
    own = sorted(
        {
            q.measure
            for q in wanted
            if q.source == "pathscope" and not q.measure.startswith(("log.", "benchmark."))
        }
    )
    return f"; `pathscope ingest STUDY.toml --fill {own[0]}` measures kept checkpoints" if own else ""


def no_such_variant(readable: list["Quantity"], which: "Which", params: Mapping[str, object]) -> str:
    """What was asked for, and what there is instead, field by field."""
    offers = []
    left = readable
    for field in ("source", "eval_set", "version", "weight_processing", "dtype", "site"):
        if field in which:
            fitting = [
                q
                for q in left
                if (q.is_on(which[field]) if field == "eval_set" else getattr(q, field) == which[field])
            ]
            if fitting:
                left = fitting
            else:
                offers.append(f"{field}: {_some({str(getattr(q, field)) for q in left})}")
    if not offers:
        offers.append(f"params: {_some({q.params_json for q in left})}")
    return f"no {readable[0].measure}{told(which, params)}; the archive has {'; '.join(offers)}."


def mixed(
    groups: Mapping[tuple[str, ...], list["Quantity"]],
    runs_of: Mapping[tuple[str, ...], list[int]],
    selected: Selected,
) -> str:
    """Runs have different variants: which, how many runs each, and what to say to choose one."""
    first = next(iter(groups.values()))[0]
    names = eval_set_names((qs[0].eval_set, qs[0].tokenizer, qs[0].encoding_hash) for qs in groups.values())
    values_of = {
        variant: {f: str(getattr(qs[0], f)) for f in VARIANT_FIELDS if f != "encoding_hash"}
        | {"eval_set": names[qs[0].encoding_hash]}
        for variant, qs in groups.items()
    }
    fields = [f for f in VARIANT_FIELDS if f != "encoding_hash"]
    differing = [f for f in fields if len({values[f] for values in values_of.values()}) > 1]
    # the fewest words: one differing field with a value per variant is enough to choose by
    chosen_by = next(
        ([f] for f in differing if len({values[f] for values in values_of.values()}) == len(groups)),
        differing,
    )
    lines = []
    for variant in list(groups)[:6]:
        values = " ".join(f"{_argument(f)}={values_of[variant][f]!r}" for f in chosen_by)
        runs = runs_of[variant]
        example = selected.by_id[runs[0]].run
        lines.append(f"  {values}: {len(runs)} runs ({example}{', ...' if len(runs) > 1 else ''})")
    more = f"\n  and {len(groups) - 6} more" if len(groups) > 6 else ""
    words = " and ".join(VARIANT_FIELDS[f] for f in chosen_by)
    return (
        f"{first.measure} of these runs differs in {words}; such numbers are not comparable. Choose one:\n"
        + "\n".join(lines)
        + more
    )


def eval_set_names(encodings: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """How to ask for each encoding, by its hash: its name, with its tokenizer where several share it, else the hash.

    encodings: name, tokenizer and hash of each.
    """
    found: dict[str, str] = {}
    sets: dict[str, dict[str, str]] = {}
    for name, tokenizer, hash_ in encodings:
        sets.setdefault(name, {})[hash_] = tokenizer
    for name, sharing in sets.items():
        by_tokenizer = {hash_: f"{name}: {tokenizer}" for hash_, tokenizer in sharing.items()}
        if len(sharing) == 1:
            found |= dict.fromkeys(sharing, name)
        elif len(set(by_tokenizer.values())) == len(sharing):
            found |= by_tokenizer
        else:
            found |= {hash_: hash_[:12] for hash_ in sharing}
    return found


def told(which: "Which", params: Mapping[str, object] | None = None) -> str:
    """The filters asked for, as a clause of a sentence."""
    asked = {k: v for k, v in {**which, **(params or {})}.items() if k != "with_suspect"}
    return " with " + ", ".join(f"{k}={v!r}" for k, v in asked.items()) if asked else ""


def _argument(field: str) -> str:
    return {"params_json": "params"}.get(field, field)


def _some(values: set[str]) -> str:
    shown = sorted(values)
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
