"""Names of figures: those of the tasks' metrics, AP elsewhere."""

import pytest

from nnabla_detofa.figure_names import figure_name
from nnabla_detofa.tasks import CenterNet, Classification, Segmentation


@pytest.mark.parametrize(
    ("task", "name"), [(CenterNet, "AP"), (Segmentation, "mIoU"), (Classification, "accuracy"), (None, "AP")]
)
def test_a_figure_is_called_as_its_metric_is(task, name):
    assert {figure_name(metric) for metric in (task.metrics if task else (None, "unknown"))} == {name}
