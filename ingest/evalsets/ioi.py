"""Indirect object identification: two names, one comes again, the other one is the answer."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int32
from pydantic import Field, model_validator

from ingest.evalset import EvalSetSettings, Given, eval_set
from ingest.evalsets.asking import Prompt, answer_id, freeze_prompts
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.streams import stream


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# {first} and {second} are the indirect object and the subject, in one order or the other; {again} is the subject.
# No name stands first: without a space before it, it would be another token.
TEMPLATES = (
    "Then, {first} and {second} went to the {place}. {again} gave a {object} to",
    "When {first} and {second} arrived at the {place}, {again} handed a {object} to",
    "After {first} and {second} met at the {place}, {again} decided to give a {object} to",
    "While {first} and {second} were working at the {place}, {again} passed a {object} to",
    "Last week, {first} and {second} had a long talk at the {place}. Later, {again} sent a {object} to",
    "The {place} was quiet when {first} and {second} came in. After a while, {again} offered a {object} to",
    "On the way to the {place}, {first} and {second} stopped for a moment, and {again} showed a {object} to",
    "Because {first} and {second} had both been looking for the {object} at the {place}, {again} returned it to",
    "In the morning, {first} and {second} cleaned the {place}. In the evening, {again} brought a {object} to",
    "Friends of {first} and {second} often saw them at the {place}, where {again} once sold a {object} to",
    "It rained, so {first} and {second} stayed inside the {place}. There, {again} lent a {object} to",
    "Everyone at the {place} knew {first} and {second}. Nobody was surprised when {again} threw a {object} to",
    "Once {first} and {second} had left the {place}, {again} wanted to give the {object} back to",
    "Two old friends, {first} and {second}, found a {object} at the {place}. Of course, {again} gave it to",
    "Before {first} and {second} reached the {place}, there was an argument, and {again} refused to give a {object} to",
)

PLACES = _words(
    "store park school office hospital station library museum theater market garden kitchen beach farm hotel bakery "
    "castle church harbor stadium restaurant house"
)

OBJECTS = _words(
    "book ring drink ball gift letter map key hat bottle basket coin flower phone ticket camera kettle lamp bone necklace "
    "snack ladder"
)

NAMES = _words("""
    Aaron Adam Alan Albert Alex Alice Amanda Amy Andrea Andrew Angela Anna Anne Anthony Arthur Barbara Benjamin Beth Betty
    Brandon Brian Bruce Carl Carlos Carol Caroline Catherine Charles Charlie Charlotte Chris Christine Christopher Claire Clara
    Craig Daniel David Deborah Dennis Diana Diane Donald Donna Dorothy Edward Elena Elizabeth Ellen Emily Emma Eric Erin
    Ethan Eva Felix Fiona Frank Fred Gabriel Gary George Greg Hannah Harold Harry Helen Henry Howard Ian Ivan Jack Jacob
    Jake James Jane Janet Jason Jeff Jennifer Jeremy Jerry Jessica Jim Joan Joe John Jonathan Joseph Joshua Judy Julia Julie
    Justin Karen Karl Kate Katherine Keith Kelly Kevin Kim Kyle Larry Laura Lauren Leo Leon Liam Linda Lisa Louis Lucas Lucy
    Luke Marcus Margaret Maria Marie Martha Martin Mary Matthew Megan Melissa Michael Michelle Mike Molly Nancy Natalie
    Nathan Neil Nicholas Nick Nicole Nina Noah Oliver Olivia Oscar Pamela Patricia Patrick Paul Paula Peter Philip Rachel
    Ralph Raymond Rebecca Richard Robert Roger Ronald Ruth Ryan Sam Samantha Samuel Sandra Sara Sarah Scott Sean Sharon Simon
    Sophia Sophie Stanley Stella Stephanie Stephen Steve Steven Stuart Susan Teresa Theodore Thomas Tim Timothy Todd Tom Tony
    Tyler Vanessa Victor Vincent Walter Wayne Wendy William
""")

ORDERS = ("ABB", "BAB")
_KINDS = len(TEMPLATES) * len(ORDERS)


@eval_set(
    "ioi",
    citation="Wang et al. 2023, Interpretability in the wild: a circuit for indirect object identification",
)
class IndirectObject(EvalSetSettings):
    """Prompts such as `Then, Mary and John went to the store. John gave a drink to`: correct Mary, distractor John.

    15 templates in both orders (ABB: the answer is named first; BAB: second), equally many prompts of each; names that
    the tokenizer takes apart are left out. Every name is the answer about equally often. Items hold the positions of
    the indirect object (io), the subject (s1) and its repetition (s2), and as `counterfactual` the same prompt with
    three other names, so that nothing says who is the answer.
    """

    n_prompts: int = Field(1500, ge=_KINDS, description=f"a multiple of {_KINDS}: templates × orders")
    min_names: int = Field(
        100, ge=3, description="refused when the tokenizer keeps fewer names whole; lower it knowingly"
    )
    seed: int = Field(0, ge=0, description="of names, places and objects")

    @model_validator(mode="after")
    def _balanced(self) -> "IndirectObject":
        if self.n_prompts % _KINDS:
            below = self.n_prompts - self.n_prompts % _KINDS
            raise ValueError(
                f"n_prompts = {self.n_prompts} cannot be balanced over {len(TEMPLATES)} templates in {len(ORDERS)} orders; the "
                f"nearest are {below} and {below + _KINDS}"
            )
        return self

    def freeze(self, given: Given) -> FrozenEvalSet:
        """Draw the prompts; prompt k is a function of the seed, k and the names that are left."""
        names = {name: i for name in NAMES if (i := given.tokenizer.single(f" {name}")) is not None}
        if len(names) < self.min_names:
            raise EvalSetRefused(
                f"{given.tokenizer.name} keeps {len(names)} of {len(NAMES)} names whole (one token, with the space before), "
                f'min_names = {self.min_names}; a smaller vocabulary needs prompts of its own: kind = "prompts".'
            )
        answers = stream(self.seed, "eval.ioi.names").permutation(list(names))
        prompts = [self._prompt(k, answers, names, given.tokenizer) for k in range(self.n_prompts)]
        facts = {"n_names": len(names), "n_templates": len(TEMPLATES)}
        left_out = len(NAMES) - len(names)
        notes = (
            (f"{left_out} of {len(NAMES)} names left out, they are more than one token",) if left_out else ()
        )
        return freeze_prompts(self, given, prompts, facts=facts, notes=notes)

    def _prompt(
        self, k: int, answers: np.ndarray, names: Mapping[str, int], tokenizer: TextTokenizer
    ) -> Prompt:
        template = TEMPLATES[k % len(TEMPLATES)]
        order = ORDERS[k // len(TEMPLATES) % len(ORDERS)]
        draw = stream(self.seed, "eval.ioi", k)
        io = str(answers[k % len(answers)])
        subject = str(answers[(k + draw.randint(1, len(answers))) % len(answers)])  # any other name
        place, thing = PLACES[draw.randint(len(PLACES))], OBJECTS[draw.randint(len(OBJECTS))]
        text = _filled(template, order, io, subject, place, thing)
        encoded = tokenizer.encode(text)
        at_io, at_subject = (np.flatnonzero(encoded.ids == names[name]).tolist() for name in (io, subject))
        correct = answer_id(tokenizer, text, encoded.ids, f" {io}")
        distractor = answer_id(tokenizer, text, encoded.ids, f" {subject}")
        if len(at_io) != 1 or len(at_subject) != 2 or correct is None or distractor is None:
            raise EvalSetRefused(
                f"{tokenizer.name} reads names differently inside a sentence: in {text!r} {io} is there {len(at_io)} times "
                f"(1 expected), {subject} {len(at_subject)} times (2 expected)."
            )
        return Prompt(
            text,
            encoded,
            correct,
            distractor,
            template=_filled(template, order, "[IO]", "[S]", "[PLACE]", "[OBJECT]"),
            facts={"order": order, "io": io, "s": subject},
            positions={"io": at_io[0], "s1": at_subject[0], "s2": at_subject[1]},
            counterfactual=self._counterfactual(k, encoded.ids, names, (at_io[0], *at_subject)),
        )

    def _counterfactual(
        self,
        k: int,
        ids: Int32[np.ndarray, " token"],
        names: Mapping[str, int],
        places: tuple[int, ...],
    ) -> Int32[np.ndarray, " token"] | None:
        """The prompt with three different other names in these places; None where there are not enough."""
        others = sorted(set(names.values()) - set(ids[list(places)].tolist()))
        if len(others) < len(places):
            return None
        # a stream of its own, so that the prompts are those that they were before there were counterfactuals
        drawn = stream(self.seed, "eval.ioi.counterfactual", k).permutation(others)[: len(places)]
        changed = ids.copy()
        changed[list(places)] = drawn
        return changed


def _filled(template: str, order: str, io: str, subject: str, place: str, thing: str) -> str:
    first, second = (io, subject) if order == "ABB" else (subject, io)
    return template.format(first=first, second=second, again=subject, place=place, object=thing)
