"""Every question pathscope can answer: declared by a decorator, found by itself, checked at the door.

A query is one file with one decorated function, `archive -> Answer`, whose parameters are keyword-only and
annotated. From the signature come the validation, the command line's options, the explorer's form and the
line of Python that repeats an answer.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from importlib.metadata import entry_points
from typing import Concatenate, Generic, ParamSpec, TypeVar, Unpack, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

import queries
from archive.errors import PathscopeError, UnknownName, UsageError
from archive.store import Archive
from queries.reading.registration import registered
from queries.reading.select import RunSelection
from queries.results import Answer

P = ParamSpec("P")
A = TypeVar("A", bound=Answer)

ENTRY_POINTS = "pathscope.queries"

_registered: dict[str, "QuerySpec[Answer]"] = {}
_discovered = False


@dataclass(frozen=True)
class QuerySpec(Generic[A]):
    """One question: its name, title and typed parameters."""

    name: str
    title: str
    module: str
    summary: str
    doc: str
    parameters: type[BaseModel]
    selectors: frozenset[str]  # fields of `Which`: left out they mean "any"
    function: Callable[..., A]

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """Parameters by name: annotation, default, description."""
        return self.parameters.model_fields

    def ask(self, archive: Archive, **given: object) -> A:
        """Validate the parameters, ask within one session, and note how to repeat it.

        Raises UsageError naming the parameter, the value and what was expected.
        """
        values = self._validated(given)
        with archive.session():
            answer = self.function(archive, **values)
            found = registered(archive, answer.provenance)
        asked = {k: _plain(v) for k, v in values.items() if v != self.fields[k].default}
        arguments = "".join(f", {k}={v!r}" for k, v in asked.items())
        copy = ", snapshot=True" if archive.snapshot else ""
        opened = f"pathscope.open_archive({str(archive.layout.database)!r}{copy})"
        line = f"pathscope.{self.name}({opened}{arguments})"
        provenance = replace(answer.provenance, registered=found) if found else answer.provenance
        return replace(answer, provenance=provenance, title=self.title, python=line, parameters=asked)

    def _validated(self, given: Mapping[str, object]) -> dict[str, object]:
        unknown = [name for name in given if name not in self.fields]
        if unknown:
            raise UnknownName.of(
                f"parameter of {self.name}",
                unknown[0],
                self.fields,
                listing=f"`pathscope query {self.name} --help`",
            )
        try:
            model = self.parameters(**given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"][:1])
            said = first["msg"]
            if first["type"] == "tuple_type":
                said = f"expected a list of values, such as {name}=[{first['input']!r}]"
            raise UsageError(
                f"{self.name}: {name}={first['input']!r}: {said} "
                f"(`pathscope query {self.name} --help` lists the parameters)."
            ) from None
        values = {name: getattr(model, name) for name in self.fields}
        return {k: v for k, v in values.items() if not (k in self.selectors and v is None)}


def query(
    *, title: str
) -> Callable[[Callable[Concatenate[Archive, P], A]], Callable[Concatenate[Archive, P], A]]:
    """Register a question under its function's name.

    Refuses a second query of that name, a function without docstring, and parameters that are positional,
    lack an annotation or lack a default.
    """

    def register(function: Callable[Concatenate[Archive, P], A]) -> Callable[Concatenate[Archive, P], A]:
        spec = _spec(function, title)
        known = _registered.get(spec.name)
        if known is not None and known.module != spec.module:
            raise TypeError(f"query {spec.name!r} is defined twice: in {known.module} and in {spec.module}")
        _registered[spec.name] = spec  # type: ignore[assignment]  # a QuerySpec only ever returns its answer

        @wraps(function)
        def ask(archive: Archive, /, *args: P.args, **kwargs: P.kwargs) -> A:
            if args:
                raise UsageError(
                    f"{spec.name}: give parameters by name, such as {next(iter(spec.fields))}=..."
                )
            return spec.ask(archive, **kwargs)

        return ask

    return register


def all_queries() -> Mapping[str, QuerySpec[Answer]]:
    """Every query of this package and of installed packages that offer some, by name."""
    global _discovered
    if not _discovered:
        for module in pkgutil.iter_modules(queries.__path__):
            if not module.ispkg:
                importlib.import_module(f"queries.{module.name}")
        for point in entry_points(group=ENTRY_POINTS):
            try:
                point.load()
            except Exception as error:
                owner = point.dist.name if point.dist else "an installed package"
                raise PathscopeError(
                    f"the queries of {owner} ({point.value}) cannot be loaded: {error}; repair or uninstall it."
                ) from error
        _discovered = True
    return dict(sorted(_registered.items()))


def find_query(name: str) -> QuerySpec[Answer]:
    """The query of that name; dashes may stand for underscores. Raises UnknownName with the nearest."""
    known = all_queries()
    found = known.get(name.replace("-", "_"))
    if found is None:
        raise UnknownName.of("query", name, known, listing="`pathscope queries`")
    return found


def _spec(function: Callable[Concatenate[Archive, P], A], title: str) -> QuerySpec[A]:
    name, module = function.__name__, function.__module__
    doc = inspect.getdoc(function)
    if not doc or not title:
        raise TypeError(
            f"query {name!r} in {module} needs a title and a docstring: what does its answer mean?"
        )
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, tuple[object, object]] = {}
    selectors: frozenset[str] = frozenset()
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        hint = hints.get(parameter.name)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and get_origin(hint) is Unpack:
            variants = get_type_hints(get_args(hint)[0], include_extras=True)
            selectors = frozenset(variants)
            fields |= {name: _optional(variant) for name, variant in variants.items()}
        elif parameter.kind is not inspect.Parameter.KEYWORD_ONLY or hint is None:
            raise TypeError(
                f"query {name!r}: parameter {parameter.name!r} must be keyword-only and annotated"
            )
        elif parameter.default is inspect.Parameter.empty:
            raise TypeError(f"query {name!r}: parameter {parameter.name!r} needs a default")
        else:
            fields[parameter.name] = (hint, parameter.default)
    model = create_model(  # type: ignore[call-overload]  # the fields are only known at run time
        name, __config__=ConfigDict(extra="forbid", validate_default=True, frozen=True), **fields
    )
    return QuerySpec(name, title, module, doc.split("\n")[0], doc, model, selectors, function)


def _optional(hint: object) -> tuple[object, object]:
    """A field of `Which` as a parameter that may be left out; its description must stay outermost."""
    kind, described = get_args(hint)
    return kind | None, Field(default=None, description=described.description)


def _plain(value: object) -> object:
    """A parameter as people would type it."""
    if isinstance(value, RunSelection):
        terms = value.terms()
        return terms[0] if len(terms) == 1 else terms
    return list(value) if isinstance(value, tuple) else value
