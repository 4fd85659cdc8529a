"""The address that brings a page's choices back."""

from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def permalink(base: str, *choices: "DataclassInstance") -> str:
    """All choices as an address: also what equals the defaults, which may differ when data came in.

    base: the page's address; words it has are dropped. A field's name is its word; switches that are off and empty
    fields are left out, steps 0 are not.
    """
    words: list[tuple[str, str]] = []
    for choice in choices:
        for field in fields(choice):
            value = getattr(choice, field.name)
            if isinstance(value, bool):
                words += [(field.name, "true")] if value else []
            elif isinstance(value, tuple):
                words += [(field.name, str(v)) for v in value]
            elif value not in ("", None):
                words.append((field.name, str(value)))
    return f"{base.split('?')[0]}?{urlencode(words)}"


def page_address(here: str, page: str, **words: object) -> str:
    """Address of another page of the explorer with some of its choices; those that are off or empty are left out.

    here: the address of any page.
    """
    folder = here.split("?")[0].rpartition("/")[0]
    # steps, layers and neurons 0 stay: 0 == False
    told = {name: v for name, v in words.items() if v is not False and v not in ("", None)}
    return f"{folder}/{page}?{urlencode({k: 'true' if v is True else v for k, v in told.items()})}"
