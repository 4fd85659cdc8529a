"""Pages by discovery: a file in `ui/views` whose `render` carries `@view(...)` is a page; nothing else is edited.

The file ends with `if __name__ == "__main__": show(render)`, because Streamlit runs pages as scripts.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archive.store import Archive

Render = Callable[[Archive], None]


@dataclass(frozen=True)
class View:
    """What the navigation knows of a page.

    order: position from the left; about: shown on hover; section: the menu it is in, "" for the bar itself.
    """

    title: str
    order: int
    icon: str
    url_path: str
    about: str
    file: Path
    hidden: bool = False
    refreshes: bool = False
    section: str = ""


def view(
    *,
    title: str,
    order: int,
    icon: str,
    url_path: str,
    section: str = "",
    hidden: bool = False,
    refreshes: bool = False,
) -> Callable[[Render], Render]:
    """Declare `render(archive)` as a page.

    icon: a Material symbol such as ":material/home:". url_path: its address, fixed for ever because people
    share links. section: the menu of the bar that lists it; menus come in the order of their first pages. hidden:
    reachable by address only. refreshes: shows new results by itself. The docstring's first line is the page's
    description.
    """

    def declare(render: Render) -> Render:
        about = (render.__doc__ or "").strip().splitlines()
        if not about:
            raise TypeError(f"page {title!r}: render needs a docstring; its first line is shown to people")
        file = Path(render.__code__.co_filename)
        declared = View(title, order, icon, url_path, about[0], file, hidden, refreshes, section)
        render.__dict__["view"] = declared
        return render

    return declare


def discover(package: str = "ui.views") -> list[View]:
    """All pages, in order; raises TypeError naming both files where two share an address or a position."""
    folder = importlib.import_module(package)
    found: list[View] = []
    for module in pkgutil.iter_modules(folder.__path__):
        page = importlib.import_module(f"{package}.{module.name}")
        declared = getattr(getattr(page, "render", None), "view", None)
        if not isinstance(declared, View):
            raise TypeError(f"{page.__file__} has no render(archive) declared with @view(...)")
        for other in found:
            if other.url_path == declared.url_path or other.order == declared.order:
                raise TypeError(
                    f"{other.file.name} and {declared.file.name} share url_path {declared.url_path!r} "
                    f"or order {declared.order}"
                )
        found.append(declared)
    return sorted(found, key=lambda v: v.order)
