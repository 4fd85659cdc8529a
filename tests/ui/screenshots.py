"""The pictures in docs/img, taken by the script that the tests look through: python -m tests.ui.screenshots.

Give archives, such as --archive demo=demo/demo.duckdb for what `pathscope demo` makes; the others show invented numbers.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.ui.archives import demo
from tests.ui.browser import ROOT, Watched, explorer, launch
from tests.ui.compare.archive import compare
from tests.ui.components.archive import components
from tests.ui.grokking.archive import grokking
from tests.ui.ingestion.archive import ingestion
from tests.ui.integrity.archive import integrity
from tests.ui.published.archive import published
from tests.ui.questions.archive import questions
from tests.ui.search.archive import search
from tests.ui.seeds.archive import seeds
from tests.ui.sizes.archive import sizes
from tests.ui.transitions.archive import transitions
from ui.models.palette import HUES

WIDTH = 1200
IMAGES = ROOT / "docs" / "img"
STATEMENT = (
    "SELECT run, step, loss%0AFROM v_loss%0AWHERE origin = 'checkpoint' AND split = 'test'"
    "%0A  AND NOT run_excluded AND NOT suspect%0AORDER BY run, step"
).replace(" ", "+")
SHOTS = {
    "home": "",
    "curves": "curves?measure=loss&part=test&part=train&y_scale=log",
    "curves-accuracy": "curves?measure=accuracy&part=test&part=train",
    "sql": f"sql?sql={STATEMENT}&chart_x_scale=log",
}
# name on the command line: who invents its numbers, and the pages that show them
ALBUMS: Mapping[str, tuple[Callable[[Path], Path], Mapping[str, str]]] = {
    "demo": (demo, SHOTS),
    # of runs whose phases and frequencies are known: the archive of `pathscope demo` has none. The step is one that the
    # invented archive and studies/crossed_small.toml both have, while the circuit forms
    "grokking": (grokking, {"grokking": "grokking?step=181", "trajectory": "trajectory"}),
    "components": (
        components,
        {"heads": "heads?curves_of=best+of+each+run", "neuron": "neuron?layer=1&unit=3"},
    ),
    "compare": (compare, {"compare": "compare?sequence=6&step_a=256"}),
    "published": (
        published,
        {"benchmarks": "benchmarks?task=lambada_openai&task=sciq", "sources": "sources?source=suite"},
    ),
    "questions": (questions, {"questions": "questions?problem=5.2&ask=true"}),
    "transitions": (transitions, {"transitions": "transitions?test=true&focus=sudden-s1&level=1"}),
    "seeds": (seeds, {"seeds": "seeds"}),
    "sizes": (sizes, {"sizes": "sizes?won=tokens&axis=compute"}),
    "search": (search, {"search": "search?text=the"}),
    "ingest": (ingestion, {"ingest": "ingest?paused=true"}),
    "integrity": (integrity, {"integrity": "integrity?focus=swapped"}),
}


def take(
    browser: Browser,
    address: str,
    folder: Path,
    shots: Mapping[str, str] = SHOTS,
    themes: Sequence[Literal["light", "dark"]] = ("light", "dark"),
) -> list[Path]:
    """Every shot of the explorer at `address` in every theme; raises AssertionError where a page complains."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for theme in themes:
        context = browser.new_context(color_scheme=theme)
        context.set_default_timeout(120_000)  # ms: real archives on a busy machine
        window = Watched.open(context)  # the next page takes half as long as in a new one
        for name, path in shots.items():
            window.page.set_viewport_size({"width": WIDTH, "height": 900})
            window.page.goto(f"{address}/{path}")
            window.settle()
            if name == "sql":
                window.page.get_by_role("tab", name="Chart").click()
                window.page.wait_for_selector(".js-plotly-plot .legendtext")
            window.grow(WIDTH)
            window.settle()
            assert not window.real_complaints, window.real_complaints
            taken.append(folder / f"explorer-{name}-{theme}.png")
            _save(window.page.screenshot(animations="disabled"), taken[-1])
        context.close()
    return taken


def _save(png: bytes, path: Path) -> None:
    """A page has few colours: a palette makes the picture a third as large, to the same eye.

    The median cut alone spends it on greys and makes thin lines grey too, so the lines' own colours are kept.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    n_free = 256 - len(HUES)
    free = picture.quantize(n_free, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*free[: 3 * n_free], *bytes.fromhex("".join(hue[1:] for hue in HUES))])
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Take the pictures of the documentation."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--archive", action="append", default=[], metavar="ALBUM=FILE", help=f"albums: {', '.join(ALBUMS)}"
    )
    parser.add_argument("--output", type=Path, default=IMAGES)
    given = parser.parse_args()
    own = dict(words.split("=", 1) for words in given.archive)
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        for name, (make, shots) in ALBUMS.items():
            archive = Path(own[name]) if name in own else make(Path(folder) / f"{name}.duckdb")
            with explorer(archive) as address:
                for picture in take(browser, address, given.output, shots):
                    print(picture)


if __name__ == "__main__":
    main()
