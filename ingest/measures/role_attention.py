"""Attention between places of a prompt that have a role: what the heads of a circuit are known by."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.prompt_attention import Roles, chance_of, score
from ingest.measure import measure
from ingest.readings.attended import END, AttendedPrompts

ROLES: dict[str, Roles] = {
    # indirect object identification
    "end_to_io": Roles(END, "io"),
    "end_to_s1": Roles(END, "s1"),
    "end_to_s2": Roles(END, "s2"),
    "s2_to_s1": Roles("s2", "s1"),
    "s2_to_s1_next": Roles("s2", "s1", after=1),
    # greater_than, acronyms, bracket_matching, sorting, translation, few_shot and rhyme
    "end_to_start": Roles(END, "start"),
    "end_to_third": Roles(END, "third"),
    "end_to_open": Roles(END, "open"),
    "end_to_answer": Roles(END, "answer"),
    "end_to_source": Roles(END, "source"),
    "end_to_other": Roles(END, "other"),
    "end_to_cue": Roles(END, "cue"),
}


def _between(roles: Roles) -> Callable[[AttendedPrompts], Tensor]:
    def role_attention(prompts: AttendedPrompts) -> Float[Tensor, "item head"]:
        """Attention from one place of a prompt to another, by their roles, meaned over prompts that have both.

        The variant names them: `end_to_io` is from where the answer is read to the indirect object, which a name mover
        looks at; `s2_to_s1_next` from the repeated subject to the token after its first mention, as an induction head
        does. Chance is 1 / number of tokens the query sees. Roles are those that the items of an eval set name. Standard
        errors are clustered by template. Attention is not importance: see `head.ablation_effect` and
        `head.logit_attribution`.
        """
        return score(prompts, roles)

    return role_attention


for _name, _roles in ROLES.items():
    measure(
        "head.role_attention",
        scope="head",
        unit="probability",
        bounds=(0.0, 1.0),
        direction="neither",
        citation="Wang et al. 2023, Interpretability in the wild: a circuit for indirect object identification",
        chance=chance_of(_roles),
        traced=True,
        variant=_name,
        params={"variant": _name},
    )(_between(_roles))
