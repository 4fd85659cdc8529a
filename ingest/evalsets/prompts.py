"""The user's own prompts, each with the right next token and one to compare it with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from pydantic import Field

from ingest.evalset import EvalSetSettings, Given, eval_set
from ingest.evalsets.asking import Prompt, answer_id, freeze_prompts
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.reading import json_lines, text_of
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.tokenizing import TextTokenizer

_KEYS = ("prompt", "correct", "distractor", "template", "counterfactual")


@eval_set("prompts", citation="the user's file")
class Prompts(EvalSetSettings):
    """Prompts from a JSONL file: `{"prompt": "The sky is", "correct": " blue", "distractor": " green"}` a line.

    The space before an answer belongs to the answer. `template` may name the kind of prompt, `counterfactual` another
    prompt of as many tokens to patch with; further keys are kept with the prompt. Prompts with an answer that this
    tokenizer takes apart are left out, counted and named.
    """

    file: str = Field(min_length=1, description="a .jsonl file, relative to the study file")
    context: int | None = Field(None, ge=2, description="longest prompt allowed, the start token included")

    def inputs(self, folder: Path) -> list[Path]:
        """The file."""
        path = folder / Path(self.file).expanduser()
        return [path] if path.is_file() else []

    def freeze(self, given: Given) -> FrozenEvalSet:
        """All prompts, in the order of the file; errors name the line."""
        path = given.folder / Path(self.file).expanduser()
        if not path.is_file():
            raise EvalSetRefused(f"no file {path}.")
        n_start = len(given.tokenizer.start(self.bos)[0])
        prompts, left_out = [], []
        for number, prompt, apart in self._read(path, given.tokenizer):
            if prompt is None:
                left_out.append((number, apart))
                continue
            if self.context is not None and len(prompt.encoded.ids) + n_start > self.context:
                raise EvalSetRefused(
                    f"{path}:{number}: the prompt has {len(prompt.encoded.ids) + n_start} tokens, context allows {self.context}."
                )
            prompts.append(prompt)
        named = ", ".join(f"{answer!r} in line {number}" for number, answer in left_out[:3])
        if not prompts:
            why = f"; {given.tokenizer.name} takes apart all answers, such as {named}" if left_out else ""
            raise EvalSetRefused(f"{path} gives no prompt{why}.")
        notes: tuple[str, ...] = ()
        if left_out:
            n = len(left_out)
            notes = (f"{n} prompt{'s' if n > 1 else ''} left out, an answer is more than one token: {named}",)
        facts = {"n_left_out": len(left_out)}
        return freeze_prompts(self, given, prompts, facts=facts, notes=notes)

    def _read(self, path: Path, tokenizer: TextTokenizer) -> Iterator[tuple[int, Prompt | None, str]]:
        """(line, prompt, ""), or (line, None, the answer that is more than one token)."""
        for number, line in json_lines(path):
            text, correct, distractor = (text_of(path, number, line, key) for key in _KEYS[:3])
            if not (correct and distractor):
                raise EvalSetRefused(f"{path}:{number}: an answer is empty.")
            if correct == distractor:
                raise EvalSetRefused(f"{path}:{number}: correct and distractor are both {correct!r}.")
            encoded = tokenizer.encode(text)
            if not len(encoded.ids):
                raise EvalSetRefused(f"{path}:{number}: the prompt {text!r} is empty.")
            ids = []
            for answer in (correct, distractor):
                try:
                    ids.append(answer_id(tokenizer, text, encoded.ids, answer))
                except EvalSetRefused as error:
                    raise EvalSetRefused(f"{path}:{number}: {error}.") from None
            if ids[0] is None or ids[1] is None:
                yield number, None, correct if ids[0] is None else distractor
                continue
            template = text_of(path, number, line, "template") if "template" in line else ""
            facts = {key: value for key, value in line.items() if key not in _KEYS}
            other = _counterfactual(path, number, line, len(encoded.ids), tokenizer)
            yield number, Prompt(text, encoded, ids[0], ids[1], template, facts, counterfactual=other), ""


def _counterfactual(
    path: Path, number: int, line: Mapping[str, Any], n_tokens: int, tokenizer: TextTokenizer
) -> Int32[np.ndarray, " token"] | None:
    """Tokens of the prompt to patch with; None where a line has none."""
    if "counterfactual" not in line:
        return None
    other = tokenizer.encode(text_of(path, number, line, "counterfactual")).ids
    if len(other) != n_tokens:
        raise EvalSetRefused(
            f"{path}:{number}: counterfactual has {len(other)} tokens, the prompt {n_tokens}; expected as many, place for place."
        )
    return other.astype(np.int32)
