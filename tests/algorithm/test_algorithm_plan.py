"""A plan says what a run does, without a trace; what it needs no data for it says without the data set."""

import re

import nnabla as nn
import numpy as np
import pytest
from nnabla_detofa.training.plan import FewImages, Pace, Work

from nnabla_detofa.algorithm import DetOFASearcher
from nnabla_detofa.host.device import NoStreamEvent
from nnabla_detofa.launch import cli
from nnabla_detofa.launch import run as launch
from nnabla_detofa.supernet import elastic
from nnabla_detofa.training import plan

FULL_SCALE = [name for name in cli.shipped_configs() if "demo" not in name]
WITHOUT_DATA = ["~dataloader.voc.generate", "dataloader.voc.root=nowhere"]
EXPECTED = ["+dataloader.voc.images_expected={train: 60, test: 12}", "+dataloader.voc.classes_expected=3"]


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where folders for a moment are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def rows(answer):
    """The lines of a plan behind the first, as pairs of name and text."""
    lines = [line for line in answer.out if line.startswith("  ")]
    return [(line[:20].strip(), line[21:]) for line in lines]


@pytest.mark.parametrize("name", FULL_SCALE)
def test_processes_of_the_headers_are_tried(name):
    header = (cli.SHIPPED / name).read_text()
    assert set(re.findall(r"mpirun -n (\d+)", header)) <= {"2", "4", "8"}


def test_a_plan_says_what_the_run_does_and_leaves_nothing(command, scratch):
    answer = command("plan=true")
    assert (answer.code, answer.err) == (0, [])
    assert "plan of DetOFASearcher (cpu, float, 1 process); nothing is trained or kept" in answer.out
    told = dict(rows(answer))
    assert told["images"] == ("44 to train on and 16 held out of VOC2007 trainval; 12 to test on of VOC2007 test")
    assert told["warmup"].startswith("1 epochs, 2 steps of 16 images: about ")
    assert told["finetune"].startswith("2 epochs, 4 steps of 16 images: about ")
    assert told["paths_warmup"].startswith("20 paths, 8 images for BN and 8 more for each: about ")
    assert told["search"].startswith("5 paths, 8 images for BN and 16 more for each: about ")
    assert told["evaluate"].startswith("6 paths, 8 images for BN and 12 more for each: about ")
    assert re.fullmatch(r"[\d,]+ to [\d,]+ MACs a path", told["FLOPs"])
    assert not (command.start / "log").exists()
    assert list(scratch.iterdir()) == []


def test_a_plan_keeps_no_generated_pictures(command, scratch):
    folder = command.start / "new"
    answer = command("plan=true", f"dataloader.voc.root={folder}")
    assert (answer.code, answer.err) == (0, [])
    assert not folder.exists()
    assert list(scratch.iterdir()) == []


def test_the_stages_of_a_plan_are_those_of_the_run(ready, finished):
    command, _ = finished
    planned = {work.stage: work for work in ready.planned()}
    stages = command.json("stages.json")
    assert [stage for stage in stages if stage in planned] == list(planned)
    for stage in ("warmup", "finetune"):
        first, last = stages[stage]["settings"]["epochs"]
        assert planned[stage].steps == (last - first) * ready.one_epoch_train
        assert planned[stage].batch == 16
    for stage in ("paths_warmup", "paths_final", "paths_final_again"):
        measured = len((command.folder / f"{stage}.csv").read_text().splitlines()) - 1
        assert measured * 16 <= planned[stage].images == 20 * 16  # a path that is drawn twice is measured once
    winners = len((command.folder / "winners.csv").read_text().splitlines()) - 1
    assert 0 < winners * (8 + 16) <= planned["search"].images == 5 * (8 + 16)


def test_a_plan_needs_no_data(command):
    with_data, without = command("plan=true"), command("plan=true", *EXPECTED, *WITHOUT_DATA)
    assert without.code == 2
    assert without.err == [
        f"nnabla_detofa: no VOC2007 in {command.start}/nowhere: put VOCdevkit/VOC2007 with Annotations, ImageSets/Main"
        f" and JPEGImages into {command.start}/nowhere, or choose other years"
    ]

    def timeless(answer):
        return [(name, text.split(": about")[0]) for name, text in rows(answer) if name not in ("images", "in all")]

    assert timeless(without) == timeless(with_data)
    assert dict(rows(without))["images"] == (
        "44 to train on and 16 held out of what dataloader.voc expects; 12 to test on of what dataloader.voc expects"
    )
    assert not (command.start / "log").exists()


def test_without_data_and_without_numbers_there_is_no_plan(command):
    answer = command("plan=true", *WITHOUT_DATA)
    assert (answer.code, len(answer.err), rows(answer)) == (2, 1, [])
    assert answer.err[0].startswith("nnabla_detofa: no VOC2007 in ")


class Processes:
    """Stands in for the host's communicator of so many processes, of which this is the first."""

    rank = 0

    def __init__(self, n_procs):
        self.n_procs, self.comm = n_procs, self

    def barrier(self):
        """None to wait for."""


@pytest.mark.parametrize("n_procs", [1, 2, 4, 8])  # `mpirun -n` of every header is among them
@pytest.mark.parametrize("name", FULL_SCALE)
def test_every_full_scale_configuration_has_a_plan_without_its_data(command, monkeypatch, name, n_procs):
    for draws in ("normal", "uniform"):
        monkeypatch.setattr(elastic, draws, lambda *_: elastic.constant(0.0))  # drawing weights is most of building
    monkeypatch.setattr(plan, "measure_pace", lambda *_: Pace(training=1.0, forward=1.0, n=1))
    monkeypatch.setattr(launch, "open_device", lambda **_: (Processes(n_procs), NoStreamEvent()))
    answer = command.run("-c", name, "plan=true", "args.context=cpu")
    assert any(f"(cpu, float, {n_procs} process" in line for line in answer.out)
    assert (answer.code, len(answer.err)) == (2, 1)
    assert re.search(r"/data/(VOC|COCO|ImageNet)", answer.err[0])  # where to put it
    told = dict(rows(answer))
    assert {"images", "paths", "parameters", "FLOPs", "bucket 4", "memory", "in all"} <= set(told)
    assert sum(" steps of " in text for text in told.values()) >= 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("plan=maybe", "plan is 'maybe'; it must be true or false"),
        ("args.algorithm=DartsSearcher", "args.algorithm is 'DartsSearcher', which makes no plan; leave plan=true out"),
        ("search.budgets=[20]", "no path costs at most 20; the cheapest path of this space costs "),
    ],
)
def test_what_cannot_be_planned(command, override, said):
    answer = command("plan=true", override)
    assert (answer.code, len(answer.err)) == (2, 1)
    assert answer.err[0].startswith(f"nnabla_detofa: {said}")


def test_plan_false_is_a_run(command, monkeypatch):
    done = []
    monkeypatch.setattr(DetOFASearcher, "algorithm", lambda self: done.append(self.folder.path))
    assert command("plan=false").code == 0
    assert done == [command.folder]


def test_maps_grow_with_the_images(tiny):
    network = tiny()

    def floats(n):
        found = []
        loss = sum(nn.functions.mean(y) for y in network(nn.Variable((n, 3, 32, 32))))
        loss.visit(lambda function: found.extend(y.size for y in function.outputs if y.size > 1))
        return sum(found)

    assert floats(4) == 4 * floats(1)


def test_batches_are_cut_to_their_first_images():
    class Loader:
        n_classes = 3

        def next(self):
            return {"inputs": [np.arange(6)], "targets": [np.arange(6), np.ones((6, 2))], "indices": np.arange(6)}

    few = FewImages(Loader(), 4)
    batch = few.next()
    assert few.n_classes == 3
    assert [len(array) for array in (*batch["inputs"], *batch["targets"], batch["indices"])] == [4] * 4


def test_time_is_shared_by_the_processes():
    class Run:
        class comm:  # noqa: N801
            n_procs = 4

    work = Work("train", "", steps=10, batch=32, images=100)
    assert plan._seconds(Run, work, Pace(training=0.5, forward=0.25, n=8)) == (10 * 32 * 0.5 + 100 * 0.25) / 4


def test_amounts_are_readable():
    durations = [plan._duration(s) for s in (0.5, 90, 300, 7300, 3e5, 1e8)]
    assert durations == ["0.5 s", "90 s", "5 min", "2 h", "3.5 days", "1,157 days"]
    assert [plan._bytes(n) for n in (1500, 2.5e6, 3.25e9)] == ["1.5 kB", "2.5 MB", "3.25 GB"]
