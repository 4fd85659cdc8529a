"""The wheel works away from the checkout, and constraints.txt pins everything that is installed."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import alembic
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pathscope
from pathscope.guard import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
OURS = ("pathscope", *PACKAGES)
# what only other platforms install; the metadata of this one never leads to it
ELSEWHERE = {"colorama"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def fresh_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment holding our wheel and nothing else.

    The libraries come from this environment through a path file, which adds its folder but does not read
    the path files in it: the editable installation of the checkout stays invisible.
    """
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return home / "bin"


def run_elsewhere(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in another directory, with none of this process's Python settings."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PATHSCOPE", "VIRTUAL"))
    }
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}

    assert tops == {*OURS, f"pathscope-{pathscope.__version__}.dist-info"}
    assert {name for name in names if not name.startswith("pathscope-")} == {
        *(str(path.relative_to(ROOT)) for package in OURS for path in source_files(ROOT / package)),
        *(
            f"archive/migrations/{path.relative_to(ROOT / 'alembic')}"
            for path in source_files(ROOT / "alembic")
        ),
        *(f"queries/problems/studies/{path.name}" for path in source_files(ROOT / "studies")),
    }


def source_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder but what Python and editors leave there."""
    yield from (
        p for p in folder.rglob("*") if p.is_file() and not {"__pycache__", ".mypy_cache"} & set(p.parts)
    )


def test_the_wheel_is_what_a_fresh_environment_imports(fresh_environment: Path, tmp_path: Path) -> None:
    program = (
        f"import importlib, json; print(json.dumps([importlib.import_module(m).__file__ for m in {OURS!r}]))"
    )
    result = run_elsewhere([str(fresh_environment / "python"), "-c", program], tmp_path)

    assert result.returncode == 0, result.stderr
    for file in json.loads(result.stdout):
        assert Path(file).is_relative_to(fresh_environment.parent)
        assert not Path(file).is_relative_to(ROOT)


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_another_directory(fresh_environment: Path, tmp_path: Path) -> None:
    # the study that comes with it, as small and as long as memorising takes, in one worker: the rest is nothing
    # that packaging could break
    site = Path(sysconfig.get_path("purelib", vars={"base": str(fresh_environment.parent)}))
    study = site / "ingest" / "studies" / "demo-quick.toml"
    text = study.read_text()
    for whole, less in {"steps = 500": "steps = 60", "p = 47": "p = 7"}.items():
        assert f"\n{whole}\n" in text
        text = text.replace(f"\n{whole}\n", f"\n{less}\n")
    study.write_text(f"{text}\n[executor]\nprocesses = 1\n")
    demo = run_elsewhere([str(fresh_environment / "pathscope"), "demo", "--quick", "--json"], tmp_path)

    assert demo.returncode == 0, demo.stderr
    told = json.loads(demo.stdout)
    assert told["ingest"]["state"] == "done"
    assert [row["kind"] for row in told["memorised"]["table"]] == ["observed", "observed"]
    assert list(tmp_path.rglob("*.duckdb")), "the demo left no archive in the directory it was started from"


def pins(*, lens: bool = False) -> dict[str, str]:
    """What everybody installs; with `lens` what only that extra adds."""
    parts = (ROOT / "constraints.txt").read_text().split("# Only with the optional extra lens")
    lines = parts[lens].splitlines()[lens:]
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def installed(*roots: str) -> Iterator[tuple[str, str]]:
    """Every distribution that these requirements lead to, with its version."""
    waiting = [Requirement(root) for root in roots]
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        key = f"{canonicalize_name(wanted.name)}{sorted(wanted.extras)}"
        if key in seen:
            continue
        seen.add(key)
        distribution = metadata.distribution(wanted.name)
        if distribution.metadata["Name"] != "pathscope":
            yield canonicalize_name(wanted.name), distribution.version
        for text in distribution.requires or ():
            further = Requirement(text)
            extras = {"", *wanted.extras}
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(further)


def test_constraints_pin_exactly_what_is_installed() -> None:
    pinned = pins()
    # torch pins the companions of its CUDA builds itself; they differ from build to build
    found = {
        name: version
        for name, version in installed("pathscope[dev]")
        if not re.match("nvidia-|cuda-|triton", name)
    }

    assert {name: version.split("+")[0] for name, version in found.items()} == {
        name: version for name, version in pinned.items() if name not in ELSEWHERE
    }


def test_the_extra_is_pinned_beside_the_rest() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    everybody, lens = pins(), pins(lens=True)

    assert not set(everybody) & set(lens)
    for wanted in map(Requirement, extras["lens"]):
        assert wanted.specifier.contains(lens[canonicalize_name(wanted.name)])
        assert not wanted.extras


@pytest.mark.skipif(
    importlib.util.find_spec("transformer_lens") is None,
    reason="TransformerLens is not installed: pip install -c constraints.txt -e '.[lens]'",
)
def test_constraints_pin_exactly_what_the_extra_adds() -> None:
    everybody = dict(installed("pathscope[dev]"))
    added = {name: version for name, version in installed("transformer-lens") if name not in everybody}

    assert added == pins(lens=True)


def test_torch_is_pinned_to_a_version_and_not_to_a_build() -> None:
    assert "+" not in pins()["torch"]


def test_the_alembic_folder_does_not_shadow_the_library() -> None:
    assert "site-packages" in (alembic.__file__ or "")
    assert not (ROOT / "alembic" / "__init__.py").exists()
