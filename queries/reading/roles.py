"""What makes an attention head part of a circuit: roles as data, each the scores it needs and how large they must be.

Sources: the roles of indirect object identification are Wang et al. 2022's, those of induction Olsson et al.
2022's. Both found heads by hand; the rules and the levels here are pathscope's, with a version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from archive.errors import UnknownName

VERSION = 1

Task = Annotated[
    Literal["ioi", "induction"],
    Field(
        description="circuit: ioi = indirect object identification on prompts, induction = on repeated tokens"
    ),
]
RoleName = Annotated[
    Literal[
        "all",
        "name_mover",
        "negative_name_mover",
        "s_inhibition",
        "duplicate_token",
        "previous_token",
        "induction",
    ],
    Field(description="a role of the task's circuit, or all that are measured"),
]
Prompts = Annotated[
    str,
    Field(description="eval set of the task's prompts; default: the one named like the task"),
]
LeastLogits = Annotated[
    float,
    Field(gt=0, description="least effect on the logit difference, direct or by ablation, that makes a role"),
]
LeastAttention = Annotated[
    float,
    Field(gt=0, le=1, description="least mean attention between the places of a prompt that makes a role"),
]
LeastScore = Annotated[
    float, Field(gt=0, le=1, description="least attention score on repeated tokens that makes a role")
]
Confidence = Annotated[
    float, Field(gt=0, lt=1, description="1 − chance of any false head in a run; also the level of intervals")
]

LOGITS, ATTENTION, SCORE, CONFIDENCE = 0.1, 0.2, 0.3, 0.95


@dataclass(frozen=True)
class Score:
    """One number per head. on: prompts, repeated tokens, or the weights alone; variant: as studies write it.

    params: what the quantity's parameters must say, which tells variants apart.
    """

    measure: str
    on: Literal["prompts", "repeats", "weights"]
    variant: str = ""
    params: Mapping[str, object] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """The measure with its variant, as studies write it."""
        return f"{self.measure}:{self.variant}" if self.variant else self.measure


def _looking(variant: str) -> Score:
    return Score("head.role_attention", "prompts", variant, {"variant": variant})


# what answers call each score -> the score
SCORES: Mapping[str, Score] = {
    "dla": Score("head.logit_attribution", "prompts"),
    "ablation": Score(
        "head.ablation_effect",
        "prompts",
        "mean",
        {"kind": "mean", "patterns": "recomputed", "metric": "logit_difference"},
    ),
    **{name: _looking(name) for name in ("end_to_io", "end_to_s1", "end_to_s2", "s2_to_s1", "s2_to_s1_next")},
    "duplicate_token": Score("head.duplicate_token", "repeats"),
    "previous_token": Score("head.previous_token", "repeats"),
    "prefix_matching": Score("head.prefix_matching", "repeats", params={"variant": "sum_targets"}),
    "copying_eig": Score("head.copying_eig", "weights"),
    "copying_logit": Score("head.copying_logit", "weights"),
    "copying_topk": Score("head.copying_topk", "prompts", params={"sign": 1}),
    "copying_topk_negative": Score("head.copying_topk", "prompts", "negative", {"sign": -1}),
}


@dataclass(frozen=True)
class Levels:
    """How large a score must be. logits: an effect on the logit difference, either way; attention, score: shares."""

    logits: float = LOGITS
    attention: float = ATTENTION
    score: float = SCORE


@dataclass(frozen=True)
class Need:
    """One score that a role needs: at least its level, with sign −1 at most minus its level; and never short of chance."""

    score: str
    level: Literal["logits", "attention", "score"]
    sign: Literal[1, -1] = 1

    def least(self, levels: Levels) -> float:
        """The level as a number, with its sign."""
        given: dict[str, float] = {
            "logits": levels.logits,
            "attention": levels.attention,
            "score": levels.score,
        }
        return self.sign * given[self.level]


@dataclass(frozen=True)
class Role:
    """A head has the role where all of `needs` hold. beside: scores that are shown and decide nothing.

    The first need is the score whose curve over training stands for the role.
    """

    needs: tuple[Need, ...]
    beside: tuple[str, ...] = field(default=())

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores it needs."""
        return tuple(need.score for need in self.needs)


_PREVIOUS = Need("previous_token", "score")
_DUPLICATE = Need("duplicate_token", "score")
_INDUCTION = Need("prefix_matching", "score")
_COPYING = ("copying_eig", "copying_logit", "copying_topk")
_SUPPRESSING = ("copying_eig", "copying_logit", "copying_topk_negative")

CIRCUITS: Mapping[str, Mapping[str, Role]] = {
    "ioi": {
        "name_mover": Role(
            (Need("dla", "logits"), Need("end_to_io", "attention")), ("ablation", "end_to_s1", *_COPYING)
        ),
        "negative_name_mover": Role(
            (Need("dla", "logits", -1), Need("end_to_io", "attention")),
            ("ablation", "end_to_s1", *_SUPPRESSING),
        ),
        "s_inhibition": Role((Need("ablation", "logits", -1), Need("end_to_s2", "attention")), ("dla",)),
        "duplicate_token": Role((Need("s2_to_s1", "attention"), _DUPLICATE), ("ablation",)),
        "previous_token": Role((_PREVIOUS,), ("ablation",)),
        "induction": Role((Need("s2_to_s1_next", "attention"), _INDUCTION), ("ablation", *_COPYING)),
    },
    "induction": {
        "previous_token": Role((_PREVIOUS,)),
        "duplicate_token": Role((_DUPLICATE,)),
        "induction": Role((_INDUCTION,), ("copying_eig", "copying_logit")),
    },
}


def roles_asked(task: str, role: str) -> dict[str, Role]:
    """The role of that name in a task's circuit, or all. Raises UnknownName for one that the circuit has not."""
    circuit = CIRCUITS[task]
    if role == "all":
        return dict(circuit)
    if role not in circuit:
        raise UnknownName.of(f"role of {task}", role, circuit, listing="role='all'")
    return {role: circuit[role]}


def told(role: Role, levels: Levels) -> str:
    """The rule in words: "head.logit_attribution ≥ 0.1 and head.role_attention:end_to_io ≥ 0.2"."""
    return " and ".join(
        f"{SCORES[need.score].called} {'≥' if need.sign > 0 else '≤'} {need.least(levels):g}"
        for need in role.needs
    )
