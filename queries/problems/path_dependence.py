"""Open problems 5.32 to 5.37, and what is behind them: whether runs that differ in little end alike."""

from queries.problems.problem import EVAL_SET, Need, Problem, Question

GROUP = "Path dependence"
_STANFORD = ("stanford_gpt2",)
_OWN_FIRST = ("language_model_seeds", "language_model_crossed", "tokens_stanford")
_LOSSES = Need.of("token_loss")
_TOP = Need.of("token_top")
_CURVES = (Need.of("head.prefix_matching", steps=8), Need.of("head.previous_token", steps=8))


def _of_prompts(kind: str) -> Question:
    return Question(
        "variance_components",
        f"{kind}: how much of the logit differences is the prompt's, the seed's, and of both?",
        (Need.of("logit_difference", on=f"{kind}*"),),
        {"measure": "logit_difference", "eval_set": EVAL_SET},
        repeats=2,
    )


PROBLEMS = (
    Problem(
        number="5.32",
        title="How alike are the outputs of models that differ in nothing but the seed?",
        group=GROUP,
        statement="The Stanford models come in two sizes with five seeds each. On any text, how far do their "
        "predictions differ?",
        questions=(
            Question(
                "path_dependence",
                "How far do seeds differ token by token, beyond chance and jitter?",
                (_LOSSES,),
                {"eval_set": EVAL_SET},
                repeats=2,
            ),
            Question(
                "output_agreement",
                "How alike are whole predictions, pair by pair?",
                (_LOSSES, _TOP),
                {"eval_set": EVAL_SET},
                repeats=2,
            ),
        ),
        limit="Ten pairs of five seeds are no ten observations; outputs may agree where circuits do not.",
        families=_STANFORD,
        studies=_OWN_FIRST,
    ),
    Problem(
        number="5.32a",
        title="Do seeds find circuits at about the same rate, and agree on the easy but not the hard?",
        group=GROUP,
        statement="The guess: all seeds work out circuits at about the same time, with some noise, so they "
        "agree on what is easy.",
        questions=(
            Question(
                "agreement_by_difficulty",
                "Do they agree less on harder tokens than hardness makes them?",
                (_LOSSES,),
                {"eval_set": EVAL_SET},
                repeats=3,
            ),
            Question(
                "role_history",
                "Do roles form at the same time in every seed?",
                _CURVES,
                {"task": "induction"},
                repeats=2,
            ),
        ),
        limit="Difficulty has to come from outside the group: what all seeds find easy leaves no room to disagree.",
        families=_STANFORD,
        studies=_OWN_FIRST,
    ),
    Problem(
        number="5.32b",
        title="Can the larger models do all that the smaller ones can?",
        group=GROUP,
        statement="The guess: medium models can do everything that small ones can.",
        questions=(
            Question(
                "capability_inclusion",
                "Which share of what the small can do can the large do too?",
                (Need.of("token_top", "token_loss", "logit_difference"),),
                {"eval_set": EVAL_SET},
                conditions=2,
            ),
        ),
        limit="Seeds differ too: only what every small run does better than every large one counts, and 3 "
        "against 3 runs cannot show it.",
        families=_STANFORD,
        studies=_OWN_FIRST,
    ),
    Problem(
        number="5.33",
        title="And on algorithmic tasks?",
        group=GROUP,
        statement="Do seeds agree on acronyms, indirect objects and the like, prompt by prompt?",
        questions=(_of_prompts("ioi"), _of_prompts("acronyms"), _of_prompts("greater_than")),
        limit="Few prompts: what is left open is mostly which prompts were asked.",
        kind="checkpoints",
        families=_STANFORD,
        studies=("tasks_stanford",),
    ),
    Problem(
        number="5.34",
        title="Do models of one size do indirect object identification in the same way?",
        group=GROUP,
        statement="OPT-125m, GPT-Neo 125M, the Stanford models, SoLU of 8 and 10 layers: who can do it, and is "
        "the circuit the same?",
        questions=(
            Question(
                "same_implementation",
                "Are roles filled by as many heads, as deep, with as much effect?",
                (
                    Need.of("head.logit_attribution", on="ioi*"),
                    Need.of("head.role_attention", on="ioi*", fill="head.role_attention:end_to_io"),
                ),
                runs=2,
            ),
            Question(
                "match_heads",
                "Do they grow the same heads, by what heads look at?",
                (Need.of("head.signature"),),
                runs=2,
            ),
        ),
        limit="Roles are templates from one model: heads outside them are not seen. Finding a circuit twice in "
        "one model gives two circuits.",
        kind="checkpoints",
        families=("opt", "gpt_neo", "stanford_gpt2", "solu_pile"),
        studies=("tasks_stanford",),
    ),
    Problem(
        number="5.35",
        title="Is there anything a smaller model does better than a larger one?",
        group=GROUP,
        statement="Compare GPT-2 small with medium and their like: on which tokens, tasks or questions is the "
        "smaller ahead?",
        questions=(
            Question(
                "smaller_beats_larger",
                "On which tokens, or kinds of tokens?",
                (_LOSSES,),
                {"on": "tokens", "eval_set": EVAL_SET},
                repeats=3,
                conditions=2,
            ),
            Question(
                "smaller_beats_larger",
                "On which benchmarks?",
                (Need.of("benchmark.acc"),),
                {"on": "benchmarks"},
                conditions=2,
            ),
            Question(
                "capability_inclusion",
                "Which tokens or prompts are the small ones' alone?",
                (Need.of("token_top", "token_loss", "logit_difference"),),
                {"eval_set": EVAL_SET},
                conditions=2,
            ),
        ),
        limit="The largest of many differences shrink when measured again: what replicates in the other half of "
        "the texts counts.",
        families=("stanford_gpt2", "pythia"),
        studies=_OWN_FIRST,
    ),
    Problem(
        number="5.36a",
        title="Does Git Re-Basin work for modular addition?",
        group=GROUP,
        statement="Permute the neurons of one two-layer MLP to match another's: is the loss on the line between "
        "them low?",
        questions=(
            Question(
                "rebasin_barrier",
                "How high is the barrier, before and after matching?",
                (Need.of("accuracy", on="modular_arithmetic*"),),
                repeats=2,
            ),
        ),
        limit="That one way of matching fails does not show that no permutation works.",
        studies=("mlp_modular",),
    ),
    Problem(
        number="5.36b",
        title="How does that matching map onto the circuits?",
        group=GROUP,
        statement="Are neurons matched to neurons of the same frequency, and is the barrier low where two runs "
        "use the same frequencies?",
        questions=(
            Question(
                "rebasin_circuit_map",
                "Are neurons of one frequency matched with each other?",
                (Need.of("key_frequencies", on="modular_arithmetic*"),),
                repeats=2,
            ),
            Question(
                "key_frequency_history",
                "Do runs choose the same frequencies to begin with?",
                (Need.of("key_frequencies", on="modular_arithmetic*"), Need.of("fourier_norm")),
                repeats=2,
            ),
        ),
        limit="Renaming the inputs permutes frequencies exactly, but not which pairs were trained on.",
        studies=("mlp_modular", "crossed_small"),
    ),
    Problem(
        number="5.37",
        title="Is there a problem with understood circuits where Git Re-Basin works?",
        group=GROUP,
        statement="Induction in small models, parity, or runs that share their init.",
        questions=(
            Question(
                "rebasin_barrier", "Where is the barrier gone after matching?", (Need.of("loss"),), repeats=2
            ),
        ),
        limit="Transformers without LayerNorm may be rotated, not only permuted: rotations have to be tried "
        "before the theory is blamed.",
        studies=("induction",),
    ),
    Problem(
        number="P0",
        title="Is training a directed path or a random walk?",
        group=GROUP,
        statement="How much of the way to a solution is the same in every run, and how much is wandering?",
        questions=(
            Question(
                "trajectory_consistency",
                "Do the weights move away like a random walk, and alike in every run?",
                (Need.of("weight_products", steps=16),),
                {"of": "weights"},
                repeats=2,
            ),
            Question(
                "trajectory_consistency",
                "Do the outputs?",
                (Need.of("logit_products", steps=16),),
                {"of": "logits"},
                repeats=2,
            ),
        ),
        limit="Directions of weights mean nothing across inits; only paths of outputs, or of runs that share "
        "their init, can be compared.",
        studies=("crossed_small",),
    ),
)
