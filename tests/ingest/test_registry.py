import importlib.metadata
import sys
import textwrap

import pytest

from archive.errors import UnknownName
from ingest.measure import MEASURES, measure
from ingest.models.loaded import Activations, LoadedModel
from ingest.registry import RegistrationRefused, Registry
from ingest.task import TASKS, Task, task

COMPLETE = {
    "scope": "split",
    "unit": "nats",
    "bounds": (0.0, None),
    "direction": "lower is better",
    "citation": "nobody 2026",
}


def registry(package="ingest.tasks"):
    return Registry(kind="thing", package=package, group="pathscope.test", listing="`pathscope things`")


def test_the_same_name_from_two_modules_is_refused_naming_both():
    things = registry()
    things.add("a", 1, module="first.module")
    with pytest.raises(
        RegistrationRefused, match=r"thing 'a' is registered by first\.module and again by second"
    ):
        things.add("a", 2, module="second")
    things.add("a", 3, module="first.module")
    assert things.get("a") == 3


def test_an_unknown_name_comes_with_the_nearest_and_the_command():
    things = registry()
    things.add("head.induction", 1, module="m")
    with pytest.raises(
        UnknownName, match=r"no thing 'head.inductoin'; did you mean 'head.induction'\? `pathscope things`"
    ):
        things.get("head.inductoin")


def test_every_module_of_the_package_is_found(tmp_path, monkeypatch):
    package = tmp_path / "found_things"
    package.mkdir()
    (package / "__init__.py").write_text("REGISTRY = None\n")
    (package / "one.py").write_text(
        textwrap.dedent("""
        import found_things
        found_things.REGISTRY.add("one", 1, module=__name__)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    things = registry("found_things")
    import found_things

    found_things.REGISTRY = things
    try:
        assert list(things.entries()) == ["one"]
    finally:
        for name in [n for n in sys.modules if n.startswith("found_things")]:
            del sys.modules[name]


class Point:
    name = "theirs"
    value = "their_package.their_module"

    def __init__(self, action):
        self.load = action


def test_other_distributions_register_through_entry_points(monkeypatch):
    things = registry()
    point = Point(lambda: things.add("theirs", 7, module="their_package.their_module"))
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [point] * (group == "pathscope.test")
    )
    assert things.get("theirs") == 7


def test_a_broken_entry_point_is_named(monkeypatch):
    def broken():
        raise ImportError("no module named their_needs")

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [Point(broken)])
    with pytest.raises(
        RegistrationRefused, match=r"'theirs' .*their_package.their_module.* no module named their_needs"
    ):
        registry().entries()


@pytest.mark.parametrize("field", ["unit", "citation"])
def test_a_measure_without_its_texts_is_refused(field):
    def documented(batch: Activations):
        """A sentence."""

    with pytest.raises(RegistrationRefused, match=f"measure 'x' in .* has no {field}"):
        measure("x", **{**COMPLETE, field: " "})(documented)
    assert "x" not in MEASURES.entries()


def test_a_measure_without_a_docstring_is_refused():
    def undocumented(batch: Activations):
        pass

    with pytest.raises(RegistrationRefused, match=r"measure 'x' in .* has no docstring"):
        measure("x", **COMPLETE)(undocumented)


def test_a_measure_must_say_what_it_reads():
    def unclear(batch):
        """A sentence."""

    with pytest.raises(RegistrationRefused, match="one parameter annotated Activations, NamedWeights"):
        measure("x", **COMPLETE)(unclear)


def test_a_scope_must_fit_what_is_read():
    def of_weights(model: LoadedModel):
        """A sentence."""

    with pytest.raises(
        RegistrationRefused,
        match=r"scope 'head'; what reads weights has one of \('tensor', 'part', 'vector'\)",
    ):
        measure("x", **{**COMPLETE, "scope": "head"})(of_weights)
    assert "x" not in MEASURES.entries()


def test_a_registered_measure_keeps_its_function_and_describes_itself(monkeypatch):
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES.entries()))

    @measure("test.thing", **{**COMPLETE, "scope": "tensor"}, version=3, schedule="sparse")
    def thing(model: LoadedModel):
        """Number of things,
        in all tensors.

        More about it.
        """
        return {}

    registered = MEASURES.get("test.thing")
    assert registered.function is thing
    assert registered.reads == "weights"
    assert registered.schedule == "sparse"
    assert registered.record.model_dump() == {
        "name": "test.thing",
        "version": 3,
        "scope": "tensor",
        "table": "fact_scalar",
        "unit": "nats",
        "lower_bound": 0.0,
        "upper_bound": None,
        "direction": "lower is better",
        "summary": "Number of things, in all tensors.",
        "citation": "nobody 2026",
    }


def test_a_task_without_a_docstring_or_citation_is_refused():
    class Undocumented(Task):
        pass

    class Documented(Task):
        """A task."""

    with pytest.raises(RegistrationRefused, match=r"task 'x' in .* has no docstring"):
        task("x", citation="c")(Undocumented)
    with pytest.raises(RegistrationRefused, match=r"task 'x' in .* has no citation"):
        task("x", citation="")(Documented)
    assert "x" not in TASKS.entries()


def test_a_chance_level_needs_a_place():
    def of_weights(model: LoadedModel):
        """A sentence."""

    with pytest.raises(
        RegistrationRefused, match=r"'x' in .* gives a chance level; its table fact_vector keeps none"
    ):
        measure("x", **{**COMPLETE, "scope": "vector"}, chance=lambda task: 0.0)(of_weights)


def test_our_own_are_all_found():
    assert {"loss", "accuracy", "weight_norm", "sum_of_squared_weights"} <= set(MEASURES.entries())
    assert {"head.previous_token", "head.first_token"} <= set(MEASURES.entries())
    assert "modular_arithmetic" in TASKS.entries()
