import subprocess
import sys

import pytest
from pydantic import ValidationError

from archive.errors import UnknownName
from ingest.evalset import EVAL_SETS, EvalSetSettings, eval_set, make_eval_set
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.text import TextFiles
from ingest.registry import RegistrationRefused

WRITTEN = {
    "text": {"files": ["a.txt"], "context": 128, "bos": "prepend"},
    "stdlib": {"max_documents": 10},
    "repeated_tokens": {"block": 50, "copies": 2},
    "ioi": {"n_prompts": 60},
    "prompts": {"file": "p.jsonl"},
    "greater_than": {"min_years": 80},
    "acronyms": {"min_initials": 10},
    "few_shot": {"shots": 5},
    "addition": {"notation": "words"},
    "sorting": {"items": "numbers"},
    "bracket_matching": {"min_kinds": 3},
    "rhyme": {"n_prompts": 60},
    "translation": {"language": "synonyms"},
}


def test_our_own_kinds_are_all_found():
    assert set(EVAL_SETS.entries()) >= set(WRITTEN)


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_table_of_a_study_file_makes_settings_and_back(kind):
    settings = make_eval_set({"kind": kind, **WRITTEN[kind]})
    assert settings.kind == kind
    assert make_eval_set(settings.as_written()) == settings
    assert settings.citation


def test_an_unknown_kind_or_key_is_named():
    with pytest.raises(
        UnknownName,
        match=r"kind 'txt'; did you mean 'text'\? there are acronyms, addition, .*, rhyme, sorting, stdlib, text",
    ):
        make_eval_set({"kind": "txt"})
    with pytest.raises(EvalSetRefused, match=r"needs a kind: acronyms, .*, ioi, prompts, repeated_tokens"):
        make_eval_set({"files": ["a.txt"]})
    with pytest.raises(ValidationError, match="contxt"):
        make_eval_set({"kind": "stdlib", "contxt": 5})
    with pytest.raises(ValidationError, match="bos"):
        make_eval_set({"kind": "stdlib", "bos": "model"})


def test_every_setting_says_what_it_is():
    for entry in EVAL_SETS.entries().values():
        for name, field in entry.thing.model_fields.items():
            assert field.description, f"{entry.name}.{name}"


def test_only_the_standard_library_is_taken_from_the_archive():
    assert make_eval_set({"kind": "stdlib"}).stored_text == "python-stdlib"
    assert make_eval_set({"kind": "stdlib", "name": "mine"}).stored_text == "mine"
    assert TextFiles(files=("a",)).stored_text is None


def test_a_kind_without_its_texts_is_refused():
    class Undocumented(EvalSetSettings):
        pass

    with pytest.raises(RegistrationRefused, match=r"eval set 'x' in .* has no docstring"):
        eval_set("x", citation="c")(Undocumented)
    with pytest.raises(RegistrationRefused, match=r"eval set 'x' in .* has no citation"):
        eval_set("x", citation="")(type("Documented", (EvalSetSettings,), {"__doc__": "An eval set."}))
    assert "x" not in EVAL_SETS.entries()


def test_planning_with_eval_sets_loads_no_model_library():
    program = (
        "import sys; from ingest.evalset import EVAL_SETS; EVAL_SETS.entries(); "
        "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
