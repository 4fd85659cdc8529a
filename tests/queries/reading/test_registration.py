"""An answer says what was registered about it, and whether before its results were there."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from archive.errors import UnknownName
from archive.store import Archive
from archive.upkeep.change import audit, changing
from archive.upkeep.hypotheses import add_hypothesis
from archive.upkeep.marks import exclude
from queries.loss_curves import loss_curves
from queries.reading.registration import Standing, find_hypothesis, read_hypotheses, standing
from tests.queries.simulated import LOSS_HERE, Simulation


@pytest.fixture(scope="module")
def measured(simulation_of_module: Simulation) -> Path:
    """Two runs with losses, measured now."""
    for run in simulation_of_module.seeds(2, prefix="mine/s"):
        simulation_of_module.curve(run, LOSS_HERE, [0, 10], [2.0, 1.0])
    return simulation_of_module.commit().layout.database


@pytest.fixture
def archive(measured: Path, simulation: Simulation) -> Archive:
    """A copy of them to register in."""
    shutil.copy(measured, simulation.layout.database)
    return Archive(simulation.layout.database)


def register(archive: Archive, name: str = "h", *, days: float = 0, **fields: object) -> None:
    """Register now, or as if it had been so many days ago."""
    given = {"statement": "s", "primary_measure": "loss", "runs": ["mine/*"], **fields}
    add_hypothesis(archive.layout, name, **given)  # type: ignore[arg-type]
    with changing(archive.layout, "test") as connection:
        connection.execute(
            "UPDATE hypothesis SET registered_at = registered_at - $ago WHERE name = $name",
            {"ago": timedelta(days=days), "name": name},
        )


def lines(archive: Archive, **fields: object) -> tuple[str, ...]:
    return loss_curves(archive, **fields).provenance.registered  # type: ignore[arg-type]


def test_nothing_registered_says_nothing(archive: Archive) -> None:
    assert lines(archive) == ()


def test_registered_in_time(archive: Archive) -> None:
    register(archive, days=1)
    (line,) = lines(archive)

    assert line.startswith("registered as 'h', by loss, on 20")
    assert line.endswith("before the first results of these runs")
    answer = loss_curves(archive)
    assert line in str(answer)
    assert answer.to_dict()["provenance"]["registered"] == [line]
    assert line.split(",")[0].replace("'", "&#x27;") in answer._repr_html_()


def test_how_a_hypothesis_stands_is_counted_over_its_runs(archive: Archive) -> None:
    register(archive)
    register(archive, "elsewhere", runs=["theirs/*"])
    (row,) = archive.rows("SELECT min(created_at) AS first FROM shard")

    assert standing(archive, find_hypothesis(archive, "h")) == Standing(2, row["first"])
    assert standing(archive, find_hypothesis(archive, "elsewhere")) == Standing(0, None)


def test_registered_too_late(archive: Archive) -> None:
    register(archive)
    (line,) = lines(archive)

    assert "only after the first results of these runs" in line
    assert line.endswith("exploratory")


def test_the_earliest_run_decides(archive: Archive, simulation: Simulation) -> None:
    register(archive)
    simulation.curve(simulation.run("mine/late"), LOSS_HERE, [0, 10], [2.0, 1.0])
    archive = simulation.commit()
    with changing(archive.layout, "test") as connection:
        connection.execute(
            "UPDATE shard SET created_at = created_at + INTERVAL 1 HOUR WHERE id = (SELECT max(id) FROM shard)"
        )

    assert "before the first results" in lines(archive, runs="mine/late")[0]
    assert "only after" in lines(archive)[0]


@pytest.mark.parametrize(
    ("fields", "n"),
    [
        ({"primary_measure": "accuracy"}, 0),
        ({"primary_measure": "loss:variant"}, 1),
        ({"runs": ["mine/s0"]}, 0),
        ({"runs": []}, 1),
        ({"runs": ["family:toy"]}, 1),
        ({"runs": ["other/*"]}, 0),
    ],
)
def test_measure_and_runs_have_to_fit(archive: Archive, fields: dict[str, object], n: int) -> None:
    register(archive, days=1, **fields)

    assert len(lines(archive)) == n


def test_excluded_runs_are_meant_too(archive: Archive) -> None:
    register(archive, days=1)
    exclude(archive.layout, "mine/s1", "odd")

    assert len(lines(archive)) == 1
    assert len(lines(archive, runs=["mine/*", "excluded:too"])) == 1


def test_dropped_results_are_told(archive: Archive) -> None:
    register(archive, days=1)
    with changing(archive.layout, "test") as connection:
        audit(connection, "drop", "run mine/s0", {})

    assert lines(archive)[0].endswith("results were dropped from this archive 1 time(s), see v_audit")


def test_published_results_may_have_been_known(simulation: Simulation) -> None:
    from tests.queries.simulated import ACC, benchmark_quantity

    simulation.benchmark(simulation.run("p/1"), benchmark_quantity(ACC, "lambada_openai", 0), 10, 0.5, 0.01)
    simulation.benchmark(simulation.run("p/1"), benchmark_quantity(ACC, "lambada_openai", 0), 20, 0.6, 0.01)
    archive = simulation.commit()
    register(archive, days=1, primary_measure="benchmark.acc", runs=["p/*"])
    from queries.benchmark_curves import benchmark_curves

    (line,) = benchmark_curves(archive).provenance.registered
    assert line.endswith("before the import of published results, which anybody may have known")


def test_hypotheses_are_read_in_order_of_time(archive: Archive) -> None:
    register(archive, "late")
    register(archive, "early", days=2, runs=[])

    assert [(one.name, one.runs) for one in read_hypotheses(archive)] == [
        ("early", ("*",)),
        ("late", ("mine/*",)),
    ]
    assert find_hypothesis(archive, "late").alpha == 0.05
    with pytest.raises(UnknownName, match="did you mean 'late'"):
        find_hypothesis(archive, "latte")
