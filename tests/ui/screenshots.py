"""The pictures in docs/img, taken by the script that the tests look through: python -m tests.ui.screenshots.

Give an archive, such as the one `pathscope demo` makes, or nothing for invented numbers.
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.ui.archives import demo
from tests.ui.browser import ROOT, Watched, explorer, launch

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


def take(browser: Browser, archive: Path, folder: Path) -> list[Path]:
    """Every shot in light and dark; raises AssertionError where a page complains."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with explorer(archive) as address:
        for theme in ("light", "dark"):
            for name, path in SHOTS.items():
                context = browser.new_context(viewport={"width": WIDTH, "height": 900}, color_scheme=theme)
                window = Watched.open(context)
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
    """A page has few colours: a palette makes the picture a third as large, to the same eye."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Take the pictures of the documentation."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--archive", type=Path, help="default: invented numbers")
    parser.add_argument("--output", type=Path, default=IMAGES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        archive = given.archive or demo(Path(folder) / "demo.duckdb")
        with launch(playwright) as browser:
            for picture in take(browser, archive, given.output):
                print(picture)


if __name__ == "__main__":
    main()
