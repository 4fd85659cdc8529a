"""`pathscope demo`: train a few seeds, measure them, and answer a question about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pathscope.commands.common import JsonOption, QuietOption, emit

if TYPE_CHECKING:
    from archive.store import Archive
    from queries.transition_times import TransitionTimes

LEVEL = 0.99
DEFAULT_ARCHIVE = Path("demo") / "demo.duckdb"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="Two seeds and fewer steps: under half a minute.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", "-a", help="Where to put the archive; else ./demo/demo.duckdb."),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Train five seeds of modular addition, then say when each memorised and when each generalised.

    A second call finds everything done, and says so at once.
    """
    from archive.store import Archive
    from ingest.run.calls import ingest
    from ingest.run.conduct import Options
    from ingest.studies.files import load_study
    from pathscope.commands.ingest import as_plain, summary
    from pathscope.progress import IngestProgress

    path = (archive or DEFAULT_ARCHIVE).expanduser().absolute()
    study = load_study(packaged_study("demo-quick" if quick else "demo"))
    with IngestProgress(quiet=quiet or json) as progress:
        report = ingest(study, path, Options(), progress)
    document: dict[str, Any] = {"ingest": as_plain(report), "archive": str(path)}
    # a call that finds everything done says so at once; the question can be asked at any time
    answer = SeedTimes.of(Archive(path), study.name) if report.state == "done" else None
    if answer is not None:
        document |= {"memorised": answer.memorised.to_dict(), "generalised": answer.generalised.to_dict()}
    ask = (
        f"pathscope query transition_times --archive {path} --runs '{study.name}/*' --measure accuracy --part test "
        f"--level {LEVEL}"
    )
    document["next"] = {"look": f"pathscope ui --archive {path}", "ask": ask}

    def human(console: Console) -> None:
        if quiet:
            return

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        say(summary(document["ingest"]))
        if answer is not None:
            answer.show(console)
        say(f"\nThe archive is {path}")
        say(f"Look at it:    {document['next']['look']}")
        say(f"Ask again:     {ask}")

    emit(document, as_json=json, human=human)
    raise typer.Exit(report.exit_code)


def packaged_study(name: str) -> Path:
    """A study that comes with pathscope, in a checkout and in a wheel alike."""
    import ingest as layer

    return Path(str(layer.__file__)).parent / "studies" / f"{name}.toml"


@dataclass(frozen=True)
class SeedTimes:
    """When each seed of a study memorised (training accuracy) and generalised (test accuracy)."""

    memorised: "TransitionTimes"
    generalised: "TransitionTimes"

    @classmethod
    def of(cls, archive: "Archive", study: str) -> "SeedTimes":
        """Ask for both of every run of the study."""
        from queries.transition_times import transition_times

        train, test = (
            transition_times(archive, runs=f"{study}/*", measure="accuracy", part=part, level=LEVEL)
            for part in ("train", "test")
        )
        return cls(train, test)

    def show(self, console: Console) -> None:
        """The answer in a table and in words."""
        later = {row["run"]: row for row in self.generalised.table.to_pylist()}
        table = Table(
            "run", "memorised", "generalised", "steps between", title=f"Accuracy ≥ {LEVEL} between steps …"
        )
        for row in sorted(self.memorised.table.to_pylist(), key=lambda row: str(row["run"])):
            end = later[row["run"]]
            table.add_row(row["run"], bracket(row), bracket(end), gap(row, end))
        console.print(table)
        for what, answer in (("Memorised", self.memorised), ("Generalised", self.generalised)):
            console.print(f"{what}: {answer.sentence}", markup=False, highlight=False)
        console.print(self.comparison(), markup=False, highlight=False)

    def comparison(self) -> str:
        """How far apart the seeds are, in one sentence."""
        ends = [row["reached"] for row in self.generalised.table.to_pylist() if row["kind"] == "observed"]
        never = sum(row["kind"] == "never" for row in self.generalised.table.to_pylist())
        still = f" {never} had not by the last checkpoint." if never else ""
        if len(ends) < 2:
            return f"Too few seeds generalised to compare them.{still}"
        return (
            f"The slowest seed took {max(ends) / min(ends):.1f} times as long to generalise as the fastest: nothing but "
            f"the seeds differs between these runs.{still}"
        )


def bracket(row: dict[str, Any]) -> str:
    """Between which two checkpoints a run got there."""
    if row["kind"] == "never":
        return f"not by {row['last']}"
    return f"{row['after']} – {row['reached']}" if row["kind"] == "observed" else f"by {row['reached']}"


def gap(start: dict[str, Any], end: dict[str, Any]) -> str:
    """Steps between memorising and generalising: at least, at most."""
    if start["kind"] != "observed":
        return ""
    if end["kind"] == "never":
        return f"> {end['last'] - start['reached']}"
    if end["kind"] != "observed":
        return ""
    return f"{max(0, end['after'] - start['reached'])} – {end['reached'] - start['after']}"
