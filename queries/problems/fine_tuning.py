"""Open problems 5.15 to 5.20, and the hypothesis among them: what fine-tuning does inside a model."""

from queries.problems.problem import BASE, EVAL_SET, JUDGED, TUNED, Need, Problem, Question

GROUP = "Fine-tuning"
_WIKI = ("toy_models",)
_STUDY = ("wiki_fine_tuning",)
_LOSSES = Need.of("token_loss")
_DIRECT = Need.of("head.logit_attribution", "head.ablation_effect", fill="head.ablation_effect:mean")


def _deltas(asks: str, need: Need, *slices: str) -> Question:
    """Token by token, from the last checkpoint of what was fine-tuned to the last one of the result."""
    return Question(
        "per_token_delta",
        asks,
        (need,),
        {"run_a": BASE, "run_b": TUNED, "slices": slices, "eval_set": EVAL_SET},
        lineage="pair",
    )


PROBLEMS = (
    Problem(
        number="5.15",
        title="What goes on inside a toy model that is fine-tuned?",
        group=GROUP,
        statement="Train on one task, go on with another, with one thing of it changed, or with half of each: "
        "what becomes of the circuit "
        "of the first?",
        questions=(
            Question(
                "finetune_shift",
                "What is forgotten, what carries over, which components change?",
                (_LOSSES,),
                {"base": BASE},
                lineage="pair",
                arms="runs trained on one task that go on with another",
            ),
        ),
        limit="One pair of toy tasks says something of that pair.",
        kind="interventions",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="H-ft",
        title="Does fine-tuning rewire circuits that are there rather than build new ones?",
        group=GROUP,
        statement="The hypothesis: fine-tuning makes existing circuits stronger or weaker and rewires them, and "
        "hardly adds any.",
        questions=(
            Question(
                "component_change",
                "Which components gain, lose, change or appear?",
                (_DIRECT,),
                {"run_a": BASE, "run_b": TUNED, "eval_set": EVAL_SET},
                lineage="pair",
            ),
        ),
        limit="Where a component stops being the same is a threshold of ours: read the whole distribution.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.16",
        title="Is a fine-tuned model worse on the old data everywhere, or at some things?",
        group=GROUP,
        statement="How does performance on the original distribution change: a little on every token, or much "
        "on a few kinds?",
        questions=(
            _deltas(
                "How do losses on the original text change, by kind of token?", _LOSSES, "class", "rarity"
            ),
        ),
        limit="A shift of all tokens and heavy tails both look concentrated: hold it against the change between "
        "neighbouring checkpoints.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.17",
        title="What does a fine-tuned model do better on its new text?",
        group=GROUP,
        statement="On which tokens of the text that it was fine-tuned on does it gain most, and what do they "
        "have in common?",
        questions=(
            _deltas(
                "How do losses on the new text change, by kind of token?",
                Need.of("token_loss", on="*wiki*"),
                "class",
                "rarity",
            ),
        ),
        limit="The largest of many differences are large by being chosen; kinds of tokens and a random sample "
        "say more than a list.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.17a",
        title="By direct effects, do all components matter a bit more, or some a lot?",
        group=GROUP,
        statement="Compare what each head and layer writes straight to the answer before and after fine-tuning.",
        questions=(
            Question(
                "component_change",
                "Over how many components is the change spread?",
                (Need.of("head.logit_attribution"),),
                {"run_a": BASE, "run_b": TUNED, "effect": "attribution"},
                lineage="pair",
            ),
        ),
        limit="Direct effects are taken on prompts with a right and a wrong answer, not on running text; each "
        "model has its own scale "
        "of the last LayerNorm.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.17b",
        title="How much of the change comes back when single components are patched?",
        group=GROUP,
        statement="Put activations of the old model into the new one, and the other way round, on one text: do "
        "a few components recover "
        "the difference?",
        questions=(
            Question(
                "patch_between_checkpoints",
                "How much does each component recover?",
                arms="forward passes in which one model runs with activations of another",
            ),
        ),
        limit="Means something only where residual streams correspond, which is within a lineage; effects of "
        "pairs do not add up.",
        kind="interventions",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.18",
        title="Are neurons overwritten by fine-tuning, or much the same?",
        group=GROUP,
        statement="Do neurons still fire most on the same texts afterwards?",
        questions=(
            Question(
                "neuron_change",
                "How much do each neuron's top texts overlap?",
                (Need.of("neuron.top"),),
                {"run_a": BASE, "run_b": TUNED},
                lineage="pair",
            ),
        ),
        limit="Top examples are the tail of what a neuron does: it can keep them and change everywhere else.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.18a",
        title="Are new features added in superposition while old ones stay?",
        group=GROUP,
        statement="Does a neuron take on something new and keep what it had, or is it rewritten?",
        questions=(
            Question(
                "superposition_probe",
                "Which neurons both kept the old and do something new?",
                (Need.of("neuron.top"), Need.of("neuron.statistics")),
                lineage="pair",
            ),
        ),
        limit="Nothing here knows what a feature is; only retained and new activity can be told apart.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.19",
        title="What else happens in fine-tuning?",
        group=GROUP,
        statement="Look around: anything that can be measured before and after. What is found so is a reason to "
        "ask, not an answer.",
        questions=(),
        limit="Looking around yields no p-values. Register what you find and test it on other runs (`pathscope "
        "hypothesis add`).",
        kind="exploratory",
        families=_WIKI,
        studies=_STUDY,
    ),
    Problem(
        number="5.20",
        title="Are there phase transitions during fine-tuning?",
        group=GROUP,
        statement="Do any curves over the checkpoints of a fine-tuning run change suddenly?",
        questions=(
            Question(
                "phase_transitions",
                "Which curves of the loss have one?",
                (Need.of("loss", steps=JUDGED),),
                {"measure": "loss"},
                lineage="tuned",
            ),
            Question(
                "phase_transitions",
                "Which head scores have one?",
                (Need.of("head.prefix_matching", steps=JUDGED),),
                {"measure": "head.prefix_matching"},
                lineage="tuned",
            ),
        ),
        limit="A warm-up or decay of the learning rate makes steps of its own: series that should not change "
        "are needed beside them.",
        kind="checkpoints",
        families=_WIKI,
        studies=_STUDY,
    ),
)
