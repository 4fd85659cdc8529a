"""Open problems 5.9 to 5.14: lottery tickets, and the pair of heads that makes an induction circuit."""

from dataclasses import replace

from queries.problems.algorithmic import GROUP, effect
from queries.problems.problem import JUDGED, Need, Problem, Question

_PREFIX = Need.of("head.prefix_matching", steps=8)
_PREVIOUS = Need.of("head.previous_token", steps=4)
_K = Need.of("k_composition", steps=8)

PROBLEMS = (
    Problem(
        number="5.9",
        title="Are there lottery tickets for induction heads?",
        group=GROUP,
        statement="Do the initial weights say which heads will become induction heads, and does training from "
        "the worst ones delay them?",
        questions=(
            Question(
                "lottery_predictors",
                "Do scores at step 0 rank the later induction heads first?",
                (Need.of("head.prefix_matching", steps=2), Need.of("k_composition", steps=2)),
                repeats=2,
            ),
            effect(
                "Does a start from the least likely heads delay induction?",
                "runs that start from the least induction-like heads of other runs, paired with runs that do not",
            ),
        ),
        limit="Heads may be exchanged within a layer of a run only, so a handful of runs is little evidence "
        "however many heads they have.",
        studies=("composing_pairs", "induction"),
    ),
    Problem(
        number="5.9a",
        title="What does a run do with a trained previous-token or induction head put into it?",
        group=GROUP,
        statement="Started with one trained head of the pair, does the other form sooner, and does the first "
        "stay what it was?",
        questions=(
            effect(
                "Does the other head form sooner?",
                "runs that start with a trained previous-token or induction head, and sham runs with any other "
                "trained head",
            ),
            Question(
                "role_survival", "Does the head keep its role?", arms="runs that start with a trained head"
            ),
        ),
        limit="Any trained head has larger weights than a fresh one: without the sham arm a delay that goes "
        "means nothing.",
        kind="interventions",
    ),
    Problem(
        number="5.10",
        title="Why are some induction heads the same in models that share their init?",
        group=GROUP,
        statement="Published models of one depth share initial weights and data order, and heads L2H3 (three "
        "layers) and L1H6 (two) are "
        "induction heads in each kind. More than by chance?",
        questions=(
            Question(
                "shared_roles",
                "Which heads have the role in how many runs, against chance?",
                (Need.of("head.prefix_matching"),),
                {"task": "induction", "role": "induction"},
                same_init=2,
            ),
        ),
        limit="With m of 8 heads in each of k models 8 (m/8)^k are shared by chance, and only three published "
        "architectures exist per depth.",
        families=("toy_models",),
        studies=("language_model_depths",),
    ),
    Problem(
        number="5.11",
        title="How much does it matter if the weights of the final circuit are knocked out at the start?",
        group=GROUP,
        statement="Take out at init what will be the circuit at the end: is generalisation delayed, or another "
        "circuit found?",
        questions=(
            effect(
                "How much later do such runs generalise than with as many other weights out?",
                "runs that start without the weights of the final circuit, and runs without as many others of "
                "the same layer and norm",
            ),
        ),
        limit="The difference to matched random masks is the result; the raw delay is not.",
        kind="interventions",
    ),
    Problem(
        number="5.12",
        title="Which measures come before the induction circuit?",
        group=GROUP,
        statement="Heads compose in pairs, previous-token and induction: is there a number that rises before "
        "the loss falls?",
        questions=(
            Question(
                "lead_lag",
                "Which score reaches an absolute level first, and by how much?",
                (_PREFIX, _PREVIOUS, _K),
                {
                    "measures": ("head.previous_token >= 0.3", "k_composition >= 5"),
                    "event": "head.prefix_matching >= 0.3",
                },
                repeats=2,
            ),
        ),
        limit="A level that is a share of the final value knows the future; only absolute ones can be called "
        "early. First is not cause.",
        families=("stanford_gpt2",),
        studies=("composing_pairs",),
    ),
    Problem(
        number="5.13",
        title="Do initial weights say which heads will compose first?",
        group=GROUP,
        statement="Is the pair that composes first one that composed more than others at init?",
        questions=(
            Question(
                "predict_first_composition",
                "Where does the winning pair stand at step 0?",
                (_K, _PREFIX),
                repeats=3,
            ),
        ),
        limit="20 seeds give a percentile to within about ±0.13; 5 give next to nothing.",
        studies=("composing_pairs",),
    ),
    Problem(
        number="5.13a",
        title="Does a pair of heads copied into another init compose first again?",
        group=GROUP,
        statement="Copy the pair that composed first into a fresh model: is it first there too?",
        questions=(
            effect(
                "How often is the copied pair first?",
                "runs that start with the pair of another run, embeddings and all, and sham runs with another pair",
            ),
        ),
        limit="The pair is aligned with the donor's residual stream, which means nothing elsewhere unless the "
        "embeddings are copied too. "
        "5 of 5 is at least 0.48.",
        kind="interventions",
    ),
    Problem(
        number="5.14",
        title="Does composition develop as a phase transition?",
        group=GROUP,
        statement="What do composition scores look like over training, and are their rises sudden?",
        questions=(
            Question("composition_history", "Which pairs compose, and since when?", (_K,), {"mode": "k"}),
            Question(
                "phase_transitions",
                "Which of their curves are phase transitions?",
                (replace(_K, steps=JUDGED),),
                {"measure": "k_composition"},
            ),
        ),
        limit="Scores of weights alone know neither LayerNorm nor positions; a pair may compose and not matter.",
        families=("stanford_gpt2", "toy_models"),
        studies=("composing_pairs", "language_model_small"),
    ),
)
