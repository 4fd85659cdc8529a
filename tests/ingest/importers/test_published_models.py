from ingest.importers.published_models import Setting, setting_of
from ingest.models.layout import Layout
from ingest.task import TRAIN
from tests.ingest.importers.making import ADDITION

LAYOUT = Layout(n_tokens=6, n_outputs=6, n_positions=3, n_layers=1, d_model=8, n_heads=2, d_head=4, d_mlp=12)


def test_the_published_operations_are_those_of_modular_arithmetic():
    for operation, answer in (("add", (2 + 4) % 5), ("subtract", (2 - 4) % 5)):
        setting = setting_of({"config": {**ADDITION, "fn_name": operation}}, LAYOUT)
        assert isinstance(setting, Setting)
        examples = setting.task.evaluation()
        assert examples.targets[examples.tokens[:, :2].tolist().index([2, 4])].tolist() == [answer]
        assert setting.splits[TRAIN].sum() == int(0.3 * 25)


def test_another_operation_is_none_of_ours():
    assert setting_of({"config": {**ADDITION, "fn_name": "x2xyy2"}}, LAYOUT) == (
        "it was trained on 'x2xyy2', which is not among the tasks here"
    )
