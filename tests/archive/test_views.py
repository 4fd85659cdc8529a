"""The views are the public SQL contract: named, documented, answering, and never losing a column."""

import re

import pytest

from archive.create import ensure_archive
from archive.layout import Layout
from archive.migrate import renew_views
from archive.store import Archive, connect
from archive.views import VIEWS, views_hash
from tests.data.make_archive import RUNS, STEPS, populate

# What somebody's notebook may rely on. A column may be added at the end of a view's list here; taking one away,
# renaming it or moving it breaks other people's work and needs another view beside the old one.
CONTRACT = {
    "v_source": """
        source_id source kind repository commit_hash licence citation url note n_files n_rows""",
    "v_source_file": "file_id source path format sha256 bytes n_rows imported_at",
    "v_run": """
        run_id run family source condition architecture n_params n_layers n_heads d_model d_mlp init_seed
        data_order_seed split_seed init_hash data_order_hash parent_run intervention_json config_json
        tokens_per_step final_step excluded exclusion_reason excluded_by tags""",
    "v_run_name": "name run_id source",
    "v_run_note": "run_id run source note",
    "v_checkpoint": """
        checkpoint_id run_id run step tokens_seen epoch snapshot label revision weights_hash location
        integrity integrity_note integrity_link suspect""",
    "v_measure": """
        measure_id measure version scope table_name unit lower_bound upper_bound direction summary citation""",
    "v_encoding": """
        encoding_id eval_set hash text_set tokenizer bos_policy context_length n_sequences n_tokens frozen
        facts_json licence""",
    "v_quantity": """
        quantity_id measure version scope table_name unit lower_bound upper_bound direction encoding_id
        eval_set encoding_hash frozen params_json weight_processing dtype site source_id source hash""",
    "v_log": """
        run_id quantity_id run family condition init_seed data_order_seed split_seed run_excluded step
        tokens_seen measure version unit eval_set params_json weight_processing dtype site source_id source
        part_kind part value""",
    "v_event": """
        run_id quantity_id run family condition init_seed data_order_seed split_seed run_excluded measure
        version unit eval_set params_json weight_processing dtype site source_id source part_kind part
        ordinal step censored_at text""",
    "v_scalar": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source part_kind part value se chance n_items n_clusters""",
    "v_curve": """
        run_id quantity_id run family condition init_seed data_order_seed split_seed run_excluded step
        tokens_seen measure version unit eval_set params_json weight_processing source_id source part_kind
        part value se suspect origin""",
    "v_loss": """
        run_id quantity_id run family condition init_seed data_order_seed split_seed run_excluded step
        tokens_seen split measure eval_set source_id source loss se suspect origin""",
    "v_head_score": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source layer head value se chance n_items n_clusters""",
    "v_head_pair": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source src_layer dst_layer values baselines z""",
    "v_neuron": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source part_kind part layer value neuron""",
    "v_neuron_top": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source layer neuron rank sequence position value""",
    "v_position": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source part_kind part value position""",
    "v_token": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source sequence position value""",
    "v_token_top": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source sequence position token_ids log_probs""",
    "v_vector": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source part_kind part layer unit_1 values""",
    "v_item": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source item value se chance n_items n_clusters""",
    "v_benchmark": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source task n_shots series value se n_items""",
    "v_attention": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source item layer head n_query n_key values""",
    "v_histogram": """
        run_id checkpoint_id quantity_id run family condition init_seed data_order_seed split_seed
        run_excluded step tokens_seen snapshot integrity suspect measure version unit eval_set params_json
        weight_processing dtype site source_id source part_kind part layer unit_1 lower upper counts""",
    "v_pair": """
        pair_id quantity_id run_id_a run_id_b run_a step_a run_b step_b measure version unit eval_set
        params_json weight_processing dtype site source_id source part_kind part layer_a layer_b unit_a
        unit_b value se chance n_items n_clusters""",
    "v_pair_vector": """
        pair_id quantity_id run_a step_a run_b step_b measure version unit eval_set params_json
        weight_processing dtype site source_id source part_kind part layer_a layer_b values""",
    "v_cell": """
        subject_kind subject_id quantity_id run_id run step snapshot run_b step_b measure version unit
        eval_set params_json weight_processing dtype site source_id source quantity_hash state attempts
        n_rows shard file_id""",
    "v_failure": """
        run step measure eval_set state attempts error_class message happened_at traceback""",
    "v_coverage": """
        run_id run measure version eval_set source state n_cells n_steps first_step last_step n_rows""",
    "v_shard": """
        shard_id shard kind study n_cells n_rows bytes created_at committed_at provenance_json""",
    "v_study": "study_id study n_cells_wanted created_at toml resolved_json n_runs",
    "v_eval_token": """
        encoding_id eval_set sequence document position token_id unigram_surprisal bigram_surprisal""",
    "v_hypothesis": "name statement primary_measure alpha runs_json who registered_at",
    "v_audit": "happened_at who action target detail_json",
}

NAMES = [view.name for view in VIEWS]


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    layout = ensure_archive(tmp_path_factory.mktemp("views") / "x.duckdb")
    populate(layout)
    return Archive(layout.database)


def test_the_contract_names_every_view() -> None:
    assert list(CONTRACT) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_view_has_its_columns_and_rows(name: str, populated: Archive) -> None:
    table = populated.query(f"SELECT * FROM {name}")
    assert table.schema.names == CONTRACT[name].split()
    assert table.num_rows > 0, "the populated archive of the tests has rows in every table"


@pytest.mark.parametrize("name", NAMES)
def test_a_view_has_no_rows_in_an_empty_archive(name: str, archive: Archive) -> None:
    """Apart from the rows that stand for "none" and for pathscope itself."""
    sentinels = {"v_source": 1, "v_encoding": 1}
    assert archive.value(f"SELECT count(*) FROM {name}") == sentinels.get(name, 0)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_says_what_it_is_in_the_archive_itself(view: object, populated: Archive) -> None:
    found = populated.value("SELECT comment FROM duckdb_views() WHERE view_name = $name", {"name": view.name})  # type: ignore[attr-defined]  # a View
    assert found == view.about  # type: ignore[attr-defined]  # a View
    assert re.fullmatch(r"[A-Z].{20,}\.", found)


def test_joins_neither_lose_nor_double_rows(populated: Archive) -> None:
    """Every view over one fact table has the rows of that table, or the elements of its lists."""
    assert populated.value("SELECT count(*) FROM v_head_score") == populated.value(
        "SELECT count(*) FROM fact_head"
    )
    assert populated.value("SELECT count(*) FROM v_scalar") == populated.value(
        "SELECT count(*) FROM fact_scalar"
    )
    assert populated.value("SELECT count(*) FROM v_log") == populated.value("SELECT count(*) FROM fact_log")
    assert populated.value("SELECT count(*) FROM v_cell") == populated.value("SELECT count(*) FROM cell")
    assert populated.value("SELECT count(*) FROM v_token") == populated.value(
        'SELECT sum(len("values"))::BIGINT FROM fact_token'
    )


def test_names_and_numbers_belong_together(populated: Archive) -> None:
    rows = populated.rows(
        "SELECT run, init_seed, step, tokens_seen, layer, head, value FROM v_head_score ORDER BY ALL"
    )
    expected = [
        (run, int(run[-1]), step, step * 64.0, i, i, float(step + i))
        for run in RUNS
        for step in STEPS
        for i in (0, 1)
    ]
    assert [tuple(r.values()) for r in rows] == expected


def test_lists_are_counted_from_zero(populated: Archive) -> None:
    rows = populated.rows(
        "SELECT layer, neuron, value FROM v_neuron WHERE run = 'toy-0' AND step = 0 ORDER BY layer, neuron"
    )
    assert [tuple(r.values()) for r in rows] == [(0, 0, 0.0), (0, 1, 1.0), (1, 0, 2.0), (1, 1, 3.0)]
    ranks = populated.rows(
        "SELECT neuron, rank, sequence, position, value FROM v_neuron_top WHERE run = 'toy-0' AND step = 0 ORDER BY ALL"
    )
    assert [tuple(r.values()) for r in ranks] == [
        (0, 0, 0, 0, 0.0),
        (0, 1, 1, 1, 1.0),
        (1, 0, 2, 2, 2.0),
        (1, 1, 3, 3, 3.0),
    ]


def test_curves_have_logs_and_checkpoints(populated: Archive) -> None:
    rows = populated.rows("SELECT origin, measure, count(*) AS n FROM v_loss GROUP BY ALL ORDER BY ALL")
    assert [tuple(r.values()) for r in rows] == [("checkpoint", "loss", 6), ("log", "log.loss", 4)]


def test_a_run_shows_why_it_is_excluded(populated: Archive) -> None:
    rows = populated.rows("SELECT run, excluded, exclusion_reason, excluded_by, tags FROM v_run ORDER BY run")
    assert [tuple(r.values()) for r in rows] == [
        ("toy-0", False, None, None, ["demo"]),
        ("toy-1", True, "diverged", "me", ["demo"]),
    ]


def test_a_benchmark_shows_task_shots_and_series(populated: Archive) -> None:
    row = populated.rows(
        "SELECT task, n_shots, series, value, source FROM v_benchmark WHERE measure = 'benchmark.acc'"
    )
    assert [tuple(r.values()) for r in row] == [("lambada", 0, "main", 0.25, "published")]


def test_a_suspect_checkpoint_says_so(populated: Archive) -> None:
    rows = populated.rows("SELECT run, step, integrity, integrity_note FROM v_checkpoint WHERE suspect")
    assert [tuple(r.values()) for r in rows] == [("toy-1", 1000, "absent", "never uploaded")]


def test_every_name_of_a_run_leads_to_it(populated: Archive) -> None:
    rows = populated.rows(
        "SELECT name, v_run_name.source FROM v_run_name JOIN v_run USING (run_id) WHERE run = 'toy-0' ORDER BY ALL"
    )
    assert {tuple(r.values()) for r in rows} == {
        ("toy-0", "pathscope"),
        ("seed0", "pathscope"),
        ("their-name", "published"),
    }


def test_views_are_renewed_and_their_hash_kept(layout: Layout, archive: Archive) -> None:
    assert archive.value("SELECT value FROM archive_info WHERE key = 'views'") == views_hash()
    with connect(layout.database, read_only=False, patience=1) as connection:
        connection.exec_driver_sql("DROP VIEW v_loss")
        connection.exec_driver_sql("UPDATE archive_info SET value = 'old' WHERE key = 'views'")
        connection.commit()
        renew_views(connection)
    assert archive.query("SELECT * FROM v_loss").num_rows == 0
    assert archive.value("SELECT value FROM archive_info WHERE key = 'views'") == views_hash()
