"""A plan says what a run does, without a trace; what it needs no data for it says without the data set."""

import re
import shutil

import pytest
from small_runs import settled

from nnabla_detofa.host.device import NoStreamEvent
from nnabla_detofa.launch import cli
from nnabla_detofa.launch import run as launch_module
from nnabla_detofa.report import plan
from nnabla_detofa.report.plan import Exchange, Pace, _seconds
from nnabla_detofa.searcher import DetOFASearcher
from nnabla_detofa.storage import Work
from nnabla_detofa.supernet import elastic

FULL_SCALE = [  # each configuration with the numbers of processes that its header names
    (name, n)
    for name in cli.shipped_configs()
    if not re.search("demo|letters|finetune", name)  # generated data, and one that needs a detector
    for n in sorted({1, *map(int, re.findall(r"mpirun -n (\d+)", (cli.SHIPPED / name).read_text()))})
]
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


def test_a_plan_says_what_the_run_does_and_leaves_nothing(command, scratch):
    """Pictures that a run would generate are not made; and it needs no data where their number is known."""
    folder = command.start / "new"
    unmade = command("plan=true", f"dataloader.voc.root={folder}")
    with settled(DetOFASearcher):
        assert command().code == 0  # has them made
    shutil.rmtree(command.start / "log")
    answer = command("plan=true")
    assert (answer.code, answer.err) == (unmade.code, unmade.err) == (0, [])
    assert "plan of DetOFASearcher (cpu, float, 1 process); nothing is trained or kept" in answer.out
    told = dict(rows(answer))
    assert told["images"] == ("44 to train on and 16 held out of VOC2007 trainval; 12 to test on of VOC2007 test")
    assert told["warmup"].startswith("1 epochs, 2 steps of 16 images: about ")
    assert told["finetune"].startswith("2 epochs, 4 steps of 16 images: about ")
    assert told["paths_warmup"].startswith("20 paths, 8 images for BN and 8 more for each: about ")
    assert told["search"].startswith("5 paths, 8 images for BN and 16 more for each: about ")
    assert told["evaluate"].startswith("6 paths, 8 images for BN and 12 more for each: about ")
    assert re.fullmatch(r"[\d,]+ to [\d,]+ MACs a path", told["FLOPs"])
    assert dict(rows(unmade))["images"] == (
        "44 to train on and 16 held out of digits to be generated; 12 to test on of digits to be generated"
    )
    without = command("plan=true", *EXPECTED, *WITHOUT_DATA)
    assert without.refusal.startswith(f"no VOC2007 in {command.start}/nowhere")
    known = dict(rows(without))
    assert re.fullmatch("44 to train on and 16 held out of .* expects; 12 to test on of .* expects", known["images"])
    for name in told.keys() - {"images", "in all", "by processes"}:
        for other in (known, dict(rows(unmade))):
            assert other[name].split(": about")[0] == told[name].split(": about")[0]
    assert not (command.start / "log").exists() and not folder.exists()
    assert list(scratch.iterdir()) == []


def test_the_largest_path_alone_is_evaluated_once(command):
    told = dict(rows(command("plan=true", "method=fullnet", *EXPECTED, *WITHOUT_DATA)))
    assert told["evaluate"].startswith("1 paths, ")


class Processes:
    """Stands in for the host's communicator of so many processes, of which this is the first."""

    rank = 0

    def __init__(self, n_procs):
        self.n_procs, self.comm = n_procs, self

    def barrier(self):
        """None to wait for."""

    def all_reduce(self, arrays, **_):
        """None to add."""


@pytest.mark.parametrize(("name", "n_procs"), FULL_SCALE)
def test_every_full_scale_configuration_has_a_plan_without_its_data(command, monkeypatch, name, n_procs):
    for draws in ("normal", "uniform"):
        monkeypatch.setattr(elastic, draws, lambda *_: elastic.constant(0.0))  # drawing weights is most of building
    monkeypatch.setattr(plan, "measure_pace", lambda *_: Pace(training=1.0, forward=1.0, n=1))
    monkeypatch.setattr(launch_module, "open_device", lambda **_: (Processes(n_procs), NoStreamEvent()))
    answer = command.run("-c", name, "plan=true", "args.context=cpu")
    assert any(f"(cpu, float, {n_procs} process" in line for line in answer.out)
    assert re.search(r"/data/(VOC|COCO|ImageNet)", answer.refusal)  # where to put it
    told = dict(rows(answer))
    assert {"images", "paths", "parameters", "FLOPs", "bucket 4", "memory", "in all"} <= set(told)
    assert sum(" steps of " in text for text in told.values()) >= 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["plan=maybe"], "plan is 'maybe'"),
        (["args.algorithm=DartsSearcher"], "'DartsSearcher', which makes no plan"),
        (["search.budgets=[20]"], "at most 20; "),
        (WITHOUT_DATA, "no VOC2007 in "),  # and without their number
    ],
)
def test_what_cannot_be_planned(command, overrides, said):
    answer = command("plan=true", *overrides)
    assert said in answer.refusal and rows(answer) == []


def test_gradients_go_around_a_ring():
    work, pace = Work("", steps=10, batch=8, images=40), Pace(training=0.5, forward=0.25, n=4, exchange=3.0)
    exchange = Exchange(size=600, speed=200.0, measured=True)
    assert [exchange.seconds(n) for n in (1, 2, 4)] == [0, 3, 4.5]
    assert [_seconds(work, pace, n, exchange) for n in (1, 2, 4)] == [50, 25 + 30, 12.5 + 45]


def test_a_path_is_measured_whole_by_one_process():
    """So that six paths take two turns of four processes, and one of eight."""
    pace, exchange = Pace(training=0.5, forward=0.25, n=4), Exchange(size=600, speed=200.0, measured=True)
    work = Work("", images=6 * 40, paths=6)
    assert [_seconds(work, pace, n, exchange) for n in (1, 4, 6, 8)] == [60, 20, 10, 10]


def test_training_goes_no_faster_than_images_are_loaded():
    work, exchange = Work("", steps=10, batch=8), Exchange(size=600, speed=200.0, measured=True)
    for loading, seconds in ((0.25, 40), (0.5, 40), (2.0, 160)):
        assert _seconds(work, Pace(training=0.5, forward=0.25, n=4, loading=loading), 1, exchange) == seconds


def test_a_plan_tells_the_duration_by_the_number_of_processes(command, monkeypatch):
    answers = []
    for pace in (Pace(training=1.0, forward=0.0, n=1), Pace(training=1.0, forward=0.0, n=1, exchange=0.5)):
        monkeypatch.setattr(plan, "measure_pace", lambda *_, pace=pace: pace)
        monkeypatch.setattr(launch_module, "open_device", lambda **_: (Processes(2), NoStreamEvent()))
        answers.append(dict(rows(command("plan=true", "hparams.mini_batch_train=8")))["by processes"])
    alone, measured = answers
    assert alone.startswith("1: 96 s, 2: 48 s, 4: 24 s, 8: 12 s, 16: 6 s; ") and "assumed" in alone  # 6 steps of 16
    assert measured.startswith("1: 96 s, 2: 51 s, ") and "as measured here" in measured


def test_a_plan_of_latency_is_one_processs(command, monkeypatch):
    monkeypatch.setattr(launch_module, "open_device", lambda **_: (Processes(2), NoStreamEvent()))
    answer = command("plan=true", "cost=latency", "hparams.mini_batch_train=8")
    assert "latency" in answer.refusal and rows(answer) == []


def test_plan_false_is_a_run(command):
    with settled(DetOFASearcher) as done:
        assert command("plan=false").code == 0
    assert [run.folder.path for run in done] == [command.folder]
