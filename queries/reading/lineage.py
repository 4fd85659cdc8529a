"""Which runs go on from which: lineages, within which a component of one number is the same component."""

from collections.abc import Iterable, Mapping

from archive.errors import NotComparable
from archive.store import Archive
from queries.reading.checkpoint_pairs import Pair, numbering
from queries.reading.select import RunRow, RunSelection, select_runs


class Lineages:
    """All runs of an archive by every name they have, to look up parents, excluded ones too."""

    def __init__(self, runs: Iterable[RunRow]) -> None:
        """`runs`: every run that may be a parent."""
        self.by_name: Mapping[str, RunRow] = {name: run for run in runs for name in (*run.names, run.run)}

    @classmethod
    def of(cls, archive: Archive) -> "Lineages":
        """Of all runs of the archive. One statement."""
        return cls(select_runs(archive, RunSelection(with_excluded=True)).runs)

    def parent(self, run: RunRow) -> RunRow | None:
        """The run it goes on from; None where nobody said, or the archive does not have it."""
        found = self.by_name.get(run.parent_run)
        return None if found is None or found.run_id == run.run_id else found

    def line(self, run: RunRow) -> list[str]:
        """Names of the run, its parent, the parent's parent, ..., the last of which the archive need not have."""
        names = [run.run]
        while parent := self.parent(run):
            if parent.run in names:  # a circle: whoever wrote it down was wrong
                return names
            names.append(parent.run)
            run = parent
        return [*names, run.parent_run] if run.parent_run and run.parent_run not in names else names

    def same(self, a: RunRow, b: RunRow) -> tuple[bool, str]:
        """(whether components of two runs have the same numbers, why).

        They do where two runs are one, began from the same weights, or descend from one run or from two that did.
        """
        same, why = numbering(a, b)
        if same:
            return True, why
        first, second = self.line(a), self.line(b)
        common = next((name for name in first if name in second), None)
        if common == a.run:
            return (
                True,
                f"{b.run} goes on from {a.run}, by way of {' and '.join(second[1 : second.index(common)])}",
            )
        if common == b.run:
            return (
                True,
                f"{a.run} goes on from {b.run}, by way of {' and '.join(first[1 : first.index(common)])}",
            )
        if common is not None:
            return True, f"both descend from {common}"
        oldest = [self.by_name.get(line[-1]) for line in (first, second)]
        hashes = [run.init_hash if run else "" for run in oldest]
        if hashes[0] and hashes[0] == hashes[1]:
            return True, f"{first[-1]} and {second[-1]}, which they descend from, began from the same weights"
        return False, why


def refuse_other_lineage(archive: Archive, runs: Mapping[int, RunRow], pairs: Iterable[Pair]) -> list[str]:
    """Why components of two runs may be compared by number, the first pair named; raises NotComparable where they may not.

    Asks the archive for parents of parents only where two runs are not known to be related without.
    """
    reasons = []
    lineages: Lineages | None = None
    for pair in pairs:
        a, b = runs[pair.a.run_id], runs[pair.b.run_id]
        if a.run_id == b.run_id:
            continue
        same, why = numbering(a, b)
        if not same:
            lineages = lineages or Lineages.of(archive)
            same, why = lineages.same(a, b)
        if not same:
            raise NotComparable(
                f"{a.run} and {b.run} are not of one lineage ({why}): component by component they are different ones, whatever "
                "changed. Choose two checkpoints of one run or a run and one that goes on from it (parent_run); "
                f"`pathscope query match_heads --runs {a.run} --runs {b.run}` pairs heads by what they do."
            )
        reasons.append(f"{a.run} and {b.run} are compared component by component: {why}")
    rest = len(reasons) - 1
    return [f"{reasons[0]}{f'; so are {rest} more pair(s)' if rest else ''}."] if reasons else []
