"""What a result depends on beside the words of a configuration: annotations, and the cost that a sampler goes by."""

import re
import shutil

import pytest


@pytest.fixture
def relabelled(pictures, tmp_path):
    """The overrides for a copy of the pictures in which one box of a split's image is another."""

    def change(split):
        root = tmp_path / "changed"
        shutil.copytree(pictures, root)
        for devkit in root.glob("*/VOC2007"):  # other tests have other sets made
            name = (devkit / "ImageSets" / "Main" / f"{split}.txt").read_text().split()[0]
            file = devkit / "Annotations" / f"{name}.xml"
            file.write_text(re.sub(r"<xmin>\d+<", "<xmin>1<", file.read_text(), count=1))
        return f"dataloader.voc.root={root}"

    return change


def ran(answer):
    return [line.split(":")[0] for line in answer.out if re.search(r": done in [\d.]+ s$", line)]


def test_a_copy_of_the_data_is_the_same_data(again, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "copy")
    answer = again(f"dataloader.voc.root={tmp_path / 'copy'}")
    assert (answer.code, ran(answer)) == (0, [])


def test_other_annotations_to_train_on_are_another_run(again, relabelled):
    answer = again(relabelled("trainval"))
    assert answer.code == 2
    assert "belongs to another configuration: dataloader.digest was '" in answer.err[-1]


def test_other_annotations_to_test_on_are_evaluated_anew(again, relabelled):
    answer = again(relabelled("test"))
    assert (answer.code, ran(answer)) == (0, ["evaluate", "report"])


def test_a_sampler_that_goes_by_the_cost_depends_on_it(command):
    assert command("sampler=balanced").code == 0
    answer = command("sampler=balanced", "cost=parameters")
    assert answer.code == 2
    assert "cost.name was 'flops' and is 'parameters'" in answer.err[-1]


def test_coco_s_metric_needs_coco_s_file(command):
    answer = command("hparams.metric=coco")
    assert answer.code == 2
    assert answer.err == [
        "nnabla_detofa: metric is 'coco', which needs COCO's instances json; VOC2007 test has none; take voc07"
    ]
