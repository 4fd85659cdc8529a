from archive.layout import Layout
from archive.schema.facts import CONTENT, FACTS
from tests.archive.upkeep import sample


def test_the_sample_has_rows_in_every_fact_and_content_table(full: Layout) -> None:
    sizes = sample.table_sizes(full)

    assert {spec.name for spec in (*FACTS, *CONTENT)} <= set(sizes)
    assert {
        "checkpoint_pair",
        "failure",
        "log_segment",
        "run_alias",
        "run_note",
        "run_tag",
        "study_run",
    } <= set(sizes)
