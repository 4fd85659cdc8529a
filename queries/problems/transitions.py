"""Open problems 5.21 to 5.31: phase transitions in language models."""

from dataclasses import replace

from queries.problems.problem import EVAL_SET, JUDGED, Need, Problem, Question

GROUP = "Phase transitions in language models"
_PUBLISHED = ("toy_models", "stanford_gpt2", "pythia")
_PREFIX = Need.of("head.prefix_matching", steps=8)
_PREVIOUS = Need.of("head.previous_token", steps=8)
_DIRECT = Need.of("head.logit_attribution", on="ioi*")
_LOOKING = Need.of("head.role_attention", on="ioi*", fill="head.role_attention:end_to_io")
_BENCHMARK = Need.of("benchmark.acc", steps=8)
_IMPORT = "pathscope import auto PATH"
# eval sets of prompts that are drawn from word lists, as ioi is from names
_TASKS = ("ioi", "greater_than", "acronyms", "few_shot", "addition", "sorting", "rhyme", "bracket_matching")


def _task(kind: str) -> Question:
    return Question(
        "task_scores",
        f"{kind}: is it ever better than chance, and since when?",
        (Need.of("logit_difference", on=f"{kind}*", steps=2),),
        {"tasks": (kind,)},
    )


PROBLEMS = (
    Problem(
        number="5.21",
        title="Do induction heads form in one sharp transition in every model?",
        group=GROUP,
        statement="Olsson et al. found that induction heads form suddenly and that in-context learning comes "
        "with them. Is it so in every "
        "series of checkpoints there is, with one piece of code?",
        questions=(
            Question(
                "replicate_induction_transition", "When, how sharply, and what falls with it?", (_PREFIX,)
            ),
        ),
        limit="Pythia's checkpoints are an octave apart where it happens (2.5 to 5 billion tokens), so the "
        "verdict there is `unresolved`.",
        families=_PUBLISHED,
        studies=("language_model_small", "language_model_depths", "induction_toy_models", "tokens_stanford"),
    ),
    Problem(
        number="5.22",
        title="Do neurons form as phase transitions?",
        group=GROUP,
        statement="Take what a neuron fires on at the end of training: does its activation there rise suddenly?",
        questions=(
            Question(
                "neuron_formation",
                "How many neurons form suddenly, against others on the same texts?",
                (Need.of("neuron.final_examples", steps=8),),
            ),
        ),
        limit="Texts chosen by the final model make a rise certain: other neurons on the same texts are the control.",
        families=("toy_models", "stanford_gpt2"),
        studies=("language_model_seeds",),
    ),
    Problem(
        number="5.23",
        title="Does the loss of single tokens show further phase changes?",
        group=GROUP,
        statement="Principal components of the losses of many tokens over training turn where induction heads "
        "form. Are there other turns, "
        "and which capability are they?",
        questions=(
            Question(
                "token_loss_trajectory",
                "Where does the path turn more than a random walk?",
                (Need.of("token_loss", steps=16),),
            ),
        ),
        limit="Smooth curves of many tokens make turns of their own; other seeds are the only repeats.",
        families=_PUBLISHED,
        studies=("language_model_small",),
    ),
    Problem(
        number="5.23a",
        title="Do other reductions than principal components show the same turns?",
        group=GROUP,
        statement="Factor changes of the loss, or embed the path without lines: do turns agree?",
        questions=(
            Question(
                "embed_trajectory",
                "Do methods agree on where the path turns?",
                (Need.of("token_loss", steps=16),),
            ),
        ),
        limit="Embeddings that bend space make clusters and turns of anything: the same null is needed for each.",
        families=_PUBLISHED,
        studies=("language_model_small",),
    ),
    Problem(
        number="5.23b",
        title="What is in the third component, or after the induction bump?",
        group=GROUP,
        statement="Look at three components, or only at checkpoints after induction heads have formed.",
        questions=(
            Question(
                "token_loss_trajectory",
                "Where does the path turn after the bump (after_step)?",
                (Need.of("token_loss", steps=16),),
                {"after_step": 1000},
            ),
        ),
        limit="Fewer checkpoints can show less. The step of the bump is yours to give: `--after-step`.",
        families=_PUBLISHED,
        studies=("language_model_small",),
    ),
    Problem(
        number="5.24",
        title="Which heads have attention patterns that people recognise, and since when?",
        group=GROUP,
        statement="Starts of words, open brackets, indentation, the same word before: which heads look there, "
        "and when did they begin?",
        questions=(
            Question(
                "attention_pattern_catalogue",
                "Which heads look at which kinds of places, since when?",
                (
                    Need.of("head.mask_z", steps=2, fill="head.mask_z:word_start"),
                    Need.of("head.mask", steps=2, fill="head.mask:word_start"),
                ),
            ),
        ),
        limit="The library of places is ours, and every head meets every kind: p is corrected for that.",
        families=_PUBLISHED,
        studies=("attention_masks",),
    ),
    Problem(
        number="5.25",
        title="Does indirect object identification come in a phase change?",
        group=GROUP,
        statement='"When Mary and John went to the shop, John gave a drink to": how does the preference for Mary develop?',
        questions=(
            Question(
                "task_scores",
                "How do logit difference and accuracy develop?",
                (Need.of("logit_difference", on="ioi*", steps=2),),
                {"tasks": (EVAL_SET,)},
            ),
            Question(
                "phase_transitions",
                "Does the logit difference have a transition, or only the accuracy?",
                (Need.of("logit_difference", on="ioi*", steps=JUDGED),),
                {"measure": "logit_difference", "eval_set": EVAL_SET},
            ),
        ),
        limit="Accuracy is sharp where prompts are alike: only the logit difference can say that it was sudden.",
        kind="checkpoints",
        families=("stanford_gpt2", "pythia"),
        studies=("tasks_stanford",),
    ),
    Problem(
        number="5.26",
        title="Which heads do indirect object identification?",
        group=GROUP,
        statement="Find the name movers and the others of the circuit by what they write to the answer and "
        "where they look.",
        questions=(
            Question("circuit_heads", "Which heads have which role?", (_DIRECT, _LOOKING), {"task": "ioi"}),
        ),
        limit="Direct effects miss heads that only stand in when others are taken out.",
        kind="checkpoints",
        families=("stanford_gpt2", "pythia"),
        studies=("tasks_stanford",),
    ),
    Problem(
        number="5.27",
        title="How do the roles of that circuit develop?",
        group=GROUP,
        statement="Follow where heads of each kind look, from the end to the names and between the names, over "
        "training.",
        questions=(
            Question(
                "role_history",
                "When is each role filled, and in what order?",
                (
                    Need.of("head.role_attention", on="ioi*", steps=4, fill="head.role_attention:end_to_io"),
                    Need.of("head.logit_attribution", on="ioi*", steps=4),
                ),
                {"task": "ioi"},
            ),
        ),
        limit="A head that looks at a name need not matter.",
        kind="checkpoints",
        families=("stanford_gpt2", "pythia"),
        studies=("tasks_stanford",),
    ),
    Problem(
        number="5.28",
        title="How do other simple tasks of that kind develop?",
        group=GROUP,
        statement="Few-shot learning, addition, sorting, rhymes, brackets: when does a model begin to do each?",
        questions=tuple(_task(kind) for kind in _TASKS[1:]),
        limit="Each wrong answer is the right one of another prompt, so common words gain nothing; tasks never "
        "above chance are kept.",
        kind="checkpoints",
        families=("stanford_gpt2", "toy_models", "pythia"),
        studies=("tasks_stanford",),
    ),
    Problem(
        number="5.29",
        title="Are there soft induction heads, such as for translation?",
        group=GROUP,
        statement="Heads that look at what followed not the same word but one with the same meaning.",
        questions=(
            Question(
                "head_scores",
                "Which heads look from a word to what followed its translation?",
                (Need.of("head.soft_prefix_matching"),),
                {"measure": "head.soft_prefix_matching", "eval_set": EVAL_SET},
            ),
        ),
        limit="Needs words that are one token in both languages; that small models have none says little of "
        "large ones.",
        kind="checkpoints",
        families=("pythia", "stanford_gpt2"),
        studies=("translation_pythia",),
    ),
    Problem(
        number="5.30",
        title="Do benchmarks, or single questions of one, have phase transitions?",
        group=GROUP,
        statement="How does performance on a benchmark change over training, as a whole and question by question?",
        questions=(
            Question(
                "benchmark_curves", "How do the results change?", (_BENCHMARK,), {"task": ("lambada_openai",)}
            ),
            Question(
                "phase_transitions",
                "Which tasks have a phase transition?",
                (replace(_BENCHMARK, steps=JUDGED),),
                {"measure": "benchmark.acc", "tasks": ("*",)},
            ),
            Question(
                "phase_transitions",
                "And by perplexity, which is continuous?",
                (Need.of("benchmark.ppl", steps=JUDGED),),
                {"measure": "benchmark.ppl", "tasks": ("*",)},
            ),
        ),
        limit="Checkpoints are few and questions many, so most curves are mostly noise; accuracy alone makes "
        "smooth changes look sharp.",
        families=("pythia",),
        imports=_IMPORT,
    ),
    Problem(
        number="5.31",
        title="Are smooth loss curves the sum of many small phase changes?",
        group=GROUP,
        statement="Perhaps scaling laws are what many tiny transitions average out to. Are phase changes everywhere?",
        questions=(
            Question(
                "quanta_histogram",
                "How many tokens change more suddenly than smooth curves do?",
                (Need.of("token_loss", steps=JUDGED),),
            ),
        ),
        limit="A token takes several circuits: its loss can be smooth though each is sudden, so absence is no "
        "evidence against.",
        families=_PUBLISHED,
        studies=("language_model_small",),
    ),
    Problem(
        number="5.31a",
        title="Do most circuits form suddenly?",
        group=GROUP,
        statement="The author's guess is that most circuits form in sudden transitions.",
        questions=(
            Question(
                "circuit_transition_rate",
                "Which share of the circuits that are found formed within an octave?",
                (_PREFIX, _PREVIOUS),
                {"task": "induction"},
            ),
        ),
        limit="Known circuits were found because they stand out; they are no sample of all circuits.",
        families=_PUBLISHED,
        studies=("induction", "language_model_small"),
    ),
)
