"""Open problems 5.1 to 5.8: grokking, and phase transitions in small models."""

from dataclasses import replace

from queries.problems.problem import EVAL_SET, JUDGED, Need, Problem, Question

GROUP = "Algorithmic tasks"
_ADDITION = "modular_arithmetic*"
_REPEATS = "repeated_tokens*"
_BY_DIGIT = Need.of("position_loss", on="digit_addition*most significant first", steps=8)
_GROKKING = Need.of("accuracy", on=_ADDITION, steps=8)
_PREFIX = Need.of("head.prefix_matching", steps=8)
_PREVIOUS = Need.of("head.previous_token", steps=4)
_K = Need.of("k_composition", steps=8)


def effect(asks: str, arms: str) -> Question:
    """What an intervention does to the time of an event, beside runs that differ in nothing else."""
    return Question("intervention_effect", asks, arms=arms)


PROBLEMS = (
    Problem(
        number="5.1",
        title="Does each digit of a long sum have a phase change of its own?",
        group=GROUP,
        statement="Models that learn to add five-digit numbers seem to learn the six digits of the answer one "
        "after another. "
        "Is each a phase change, and why one per digit?",
        questions=(
            Question(
                "transitions_per_position",
                "When does each digit get there?",
                (_BY_DIGIT,),
                {"eval_set": EVAL_SET},
            ),
            Question(
                "phase_transitions",
                "Which of these are phase transitions, by the loss?",
                (replace(_BY_DIGIT, steps=JUDGED),),
                {"measure": "position_loss", "part": "auto", "eval_set": EVAL_SET},
            ),
        ),
        limit="Says that and when, not why: that takes other data, such as sums without carries (5.2).",
        studies=("digit_addition_5",),
    ),
    Problem(
        number="5.2",
        title="Why are the digits learned in that order?",
        group=GROUP,
        statement="The digits of a sum are learned in much the same order in every seed. Is it the carries, the "
        "way digits "
        "are written, or how much each adds to the loss?",
        questions=(
            Question(
                "transitions_per_position",
                "Is the order the same in every seed?",
                (_BY_DIGIT,),
                {"eval_set": EVAL_SET},
                repeats=2,
            ),
            Question(
                "transitions_per_position",
                "Is it another with the digits written backwards?",
                (Need.of("position_loss", on="digit_addition*, least significant first", steps=8),),
                {"eval_set": EVAL_SET},
                repeats=2,
            ),
            Question(
                "transitions_per_position",
                "Is it another in sums without carries?",
                (Need.of("position_loss", on="digit_addition*most significant first, no carries", steps=8),),
                {"eval_set": EVAL_SET},
                repeats=2,
            ),
            effect(
                "What does weighing one digit more do?",
                "runs whose loss weighs the digits apart, paired with runs without",
            ),
        ),
        limit="Agreement on an order is no mechanism; only what other data or other weights do to it speaks to why.",
        studies=("digit_order", "digit_addition_5"),
    ),
    Problem(
        number="5.3",
        title="Why do the first components of training show its phases?",
        group=GROUP,
        statement="Principal components of all logits, or of all weights, over the checkpoints of a grokking "
        "run show the phases "
        "of training as turns. What are these components?",
        questions=(
            Question(
                "trajectory_pca",
                "Does the path of the weights turn more than a random walk?",
                (_GROKKING, Need.of("weight_products", steps=20)),
                {"of": "weights"},
            ),
            Question(
                "trajectory_pca",
                "Does the path of the logits?",
                (_GROKKING, Need.of("logit_products", steps=20)),
                {"of": "logits"},
            ),
        ),
        limit="A random walk in many dimensions has 61 % of its variance on the first component and turns "
        "smoothly: a clear picture "
        "is no evidence by itself.",
        studies=("crossed_small", "modular_addition_113"),
    ),
    Problem(
        number="5.3a",
        title="What do the components of a grokking run stand for?",
        group=GROUP,
        statement="Is the first component the memorising against the generalising circuit?",
        questions=(
            Question(
                "explain_component",
                "How much of a component do restricted and excluded loss explain, in other seeds too?",
                (
                    Need.of("restricted_loss", on=_ADDITION, steps=20, fill="restricted_loss:final"),
                    Need.of("excluded_loss", on=_ADDITION, steps=20, fill="excluded_loss:final"),
                    Need.of("logit_products", steps=20),
                ),
                {
                    "of": "logits",
                    "regressors": (
                        "restricted_loss{frequencies=final}[test]",
                        "excluded_loss{frequencies=final}[train]",
                    ),
                    "logs": True,
                },
                repeats=2,
            ),
        ),
        limit="Checkpoints of a run follow each other: two hundred of them are about ten observations, and "
        "seeds are the only repeats.",
        studies=("crossed_small", "modular_addition_113"),
    ),
    Problem(
        number="5.3b",
        title="Do components foretell grokking without knowing the future?",
        group=GROUP,
        statement="Components fitted on all checkpoints tell when a run will grok; do those fitted on the past alone?",
        questions=(
            Question(
                "predict_onset_from_components",
                "Do components of the past rank the runs by when they generalise?",
                (_GROKKING, Need.of("logit_products", steps=20)),
                runs=10,
            ),
            Question(
                "predict_onset",
                "What does the loss of the past do, which components would have to beat?",
                (_GROKKING, Need.of("loss", on=_ADDITION, steps=8)),
                runs=10,
            ),
        ),
        limit="Components turn and change sign as checkpoints are added; runs that differ in nothing but the "
        "seed leave little to predict.",
        studies=("predict_grokking",),
    ),
    Problem(
        number="5.4",
        title="Can it be told early when a run will grok?",
        group=GROUP,
        statement="Is there a number that uses nothing of the future and tells when a run will generalise?",
        questions=(
            Question(
                "predict_onset",
                "Does a number taken early rank the runs, better than their settings alone?",
                (_GROKKING, Need.of("weight_norm", steps=8)),
                runs=10,
            ),
        ),
        limit="A predictor has to beat one that knows only weight decay and the share of data; runs that never "
        "grok count as later than all.",
        studies=("predict_grokking",),
    ),
    Problem(
        number="5.5",
        title="Why does a model choose its frequencies, and why does it switch?",
        group=GROUP,
        statement="Modular addition is done with a few frequencies that differ from seed to seed and sometimes "
        "change during training.",
        questions=(
            Question(
                "key_frequency_history",
                "Which frequencies, since when, and do runs choose alike?",
                (Need.of("key_frequencies", on=_ADDITION, steps=4), Need.of("fourier_norm", steps=4)),
            ),
            Question(
                "frequency_predictors",
                "Does the initial spectrum, or the split, tell which are chosen?",
                (Need.of("key_frequencies", on=_ADDITION), Need.of("fourier_norm", steps=2)),
                runs=4,
            ),
        ),
        limit="k and p − k are one frequency, and multiplying all inputs by a constant renames frequencies: "
        "single names mean little.",
        studies=("crossed_small", "crossed_gpu"),
    ),
    Problem(
        number="5.6",
        title="What does a progress measure in the loss do?",
        group=GROUP,
        statement="If restricted or excluded loss is made a part of what is trained on, does grokking come "
        "sooner, or not at all?",
        questions=(
            effect(
                "By how many octaves does it move generalisation?",
                "runs trained with a progress measure in the loss at several weights, paired with runs without "
                "on init and data",
            ),
        ),
        limit="Key frequencies come from the final model: used in the loss they leak the answer, so a measure "
        "without them is needed.",
        kind="interventions",
    ),
    Problem(
        number="5.7",
        title="Are phase transitions part of how circuits of several factors are learned, also in larger models?",
        group=GROUP,
        statement="There is an argument that a product of weights grows slowly and then suddenly. Is there "
        "evidence for it beyond toy "
        "models, such as in two layers that learn induction?",
        questions=(
            Question(
                "phase_transitions",
                "Does the loss have a transition?",
                (Need.of("loss", "log.loss", on=_REPEATS, steps=JUDGED),),
                {"measure": "loss", "eval_set": EVAL_SET},
            ),
            Question(
                "role_history",
                "Do the factors, previous-token and induction heads, form together?",
                # both on repeated tokens: elsewhere the two are not read together
                (replace(_PREFIX, on=_REPEATS), replace(_PREVIOUS, on=_REPEATS)),
                {"task": "induction"},
            ),
            Question("factor_growth", "Do the factors grow as a product does?", (_PREFIX, _PREVIOUS, _K)),
        ),
        limit="The argument foretells a sigmoid in linear time, whose width on a log axis depends on the size "
        "of the initial weights.",
        studies=("induction", "composing_pairs"),
    ),
    Problem(
        number="5.7a",
        title="Why do two layers of attention learn induction in a phase transition?",
        group=GROUP,
        statement="Which part of the circuit is the bottleneck?",
        questions=(
            effect(
                "How much of the delay goes when a part is supplied or frozen?",
                "runs with one part of the circuit clamped: previous-token attention, key composition, copying",
            ),
        ),
        limit="A clamped part changes the optimisation problem itself.",
        kind="interventions",
        studies=("induction",),
    ),
    Problem(
        number="5.8",
        title="Which toy model of phase transitions is closest to a transformer?",
        group=GROUP,
        statement="Products of two factors, of three, with or without weight decay: which curve is that of a "
        "real circuit?",
        questions=(
            Question(
                "fit_toy_model",
                "Which family of curves fits seeds that it was not fitted on?",
                (Need.of("loss", "log.loss", on=_REPEATS, steps=20),),
                repeats=2,
            ),
        ),
        limit="Choosing a model on one curve fits its noise: fit some seeds, judge on others.",
        studies=("induction",),
    ),
)
