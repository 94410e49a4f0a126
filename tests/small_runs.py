"""A supernet and pictures so small that a run takes seconds; fixtures of tests/algorithm and tests/training."""

import csv
import importlib.util
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import h5py
import nnabla as nn
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

import nnabla_detofa.host  # noqa: F401 - repairs the host before a test imports it
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.launch import cli
from nnabla_detofa.searcher import DetOFASearcher
from nnabla_detofa.storage import Rehearsal
from nnabla_detofa.supernet import NETWORKS

SPACE = {
    "width_scale": 0.0625,
    "channel_divisor": 4,
    "base_depths": [1, 1, 1, 1],
    "depths": [0, 1],
    "widths": [0.65, 1.0],
}
NETWORK = {"space": SPACE, "neck": [8, 8], "head": 8, "head_deviation": None, "stem_pool": False}
DIGITS = {"classes": [0, 1, 7], "n_train": 60, "n_test": 12, "image_size": 32, "scale": [0.35, 0.6]}
LOADER = {"generate": DIGITS, "image_size": 32, "output_stride": 4, "max_objects": 10, "held_out": 16, "workers": 0}
BATCHES = {"batch_size_train": 16, "mini_batch_train": 16, "batch_size_valid": 8, "mini_batch_valid": 8}
TINY = {
    "network": {"ofa_resnet50_centernet": NETWORK},
    "dataloader": {"voc": LOADER},
    "hparams": {**BATCHES, "warmup": 1, "finetune": 2},
    "path_filter": {
        "paths_per_bucket": 4,
        "bn_images": 8,
        "evaluation_bn_images": 8,
        "validation_images": 8,
        "folds": 2,
        "second_measurement": True,
        "network": {"dim": 8, "heads": 2, "layers": 1, "hidden": 8},
        "fit": {"epochs": 2},
    },
    "pruning": {"paths_per_operation": 5},
    "search": {"generations": 3, "population": 10},
    "args": {"context": "cpu"},
}


BEFORE_PRUNING = ["warmup", "paths_warmup", "path_filter_warmup"]
PRUNING = ["operations", "thresholds"]
SEARCH = ["search", "evaluate", "report", "export", "page"]
STAGES = [*BEFORE_PRUNING, *PRUNING, "finetune", "paths_final", "path_filter_final"]
STAGES += ["paths_final_again", "filter_quality", *SEARCH]
CHECKPOINTS = [f"checkpoint_warmup/{step:09d}" for step in (0, 2)] + [f"checkpoint_finetune/{n:09d}" for n in (4, 6)]


def arrays(file):
    """Every array of an HDF5 file by name."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(file) as content:
        content.visititems(take)
    return found


def overrides(values, prefix=""):
    """The values as Hydra's overrides, whether their keys are there already or not."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from overrides(value, f"{prefix}{key}.")
        else:
            yield f"++{prefix}{key}={json.dumps(value)}"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The folder of the generated pictures, written by the first loader that asks for them."""
    return tmp_path_factory.mktemp("digits")


@pytest.fixture
def tiny_overrides(tmp_path, pictures, monkeypatch):
    """Those that make the demo tiny, to be used in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return [*overrides(TINY), f"dataloader.voc.root={pictures}"]


@pytest.fixture
def tiny():
    """Builds the small supernet of three classes; one seed, one network."""
    return lambda **options: NETWORKS["ofa_resnet50_centernet"].SearchNet(3, **{**NETWORK, **options})


@pytest.fixture
def loader(pictures):
    """Builds a loader of the pictures that are trained on, or held out, or of the test split."""

    def build(searching=True, training=True, *, batch_size=4):
        return DataLoader(searching, training, batch_size, root=pictures, **LOADER)

    return build


class Answer(NamedTuple):
    """Exit code of a command, its lines on standard output, and those on standard error that are no progress bars."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def ran(self):
        """The stages that were run, not kept."""
        return [line.split(":")[0] for line in self.out if ": done in " in line]

    @property
    def kept(self):
        return [line.split(":")[0] for line in self.out if line.endswith(": kept, its inputs are unchanged")]

    @property
    def refusal(self):
        """The one line of a command that must end with exit code 2."""
        assert (self.code, len(self.err)) == (2, 1), (self.code, self.err)
        return self.err[0].removeprefix("nnabla_detofa: ")


def mpirun():
    """The launcher of several processes and its options, or a skipped test where there is none."""
    launcher = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("no mpirun and mpi4py: pip install -e '.[mpi]'")
    return [launcher, "--oversubscribe", "--bind-to", "none"]


def together(arguments, *, start):
    """The answer of a command of mpirun's, with what its processes said."""
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}  # where tests run as root
    environment = {**os.environ, **allowed, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    arguments = [*mpirun(), *arguments]
    done = subprocess.run(arguments, cwd=start, env=environment, capture_output=True, timeout=300, check=False)
    out, err = (text.decode(errors="replace").replace("\r", "\n").splitlines() for text in (done.stdout, done.stderr))
    own = [line for line in err if line and "%|" not in line]
    return Answer(done.returncode, out, own[: own.index(BANNER)] if BANNER in own else own)


class Command:
    """The command on a demo's configuration made tiny, as started in the folder `start`."""

    def __init__(self, start, pictures, config="detofa_demo", tiny=TINY, removed=(), chosen=()):
        self.start, self.folder, self._config = start, start / "log" / config, config
        (loader,) = tiny["dataloader"]
        left = [*chosen, *(f"~{key}" for key in removed)]
        self._tiny = [*left, *overrides(tiny), f"dataloader.{loader}.root={pictures}"]

    def __call__(self, *more):
        return self.run("-c", self._config, *self._tiny, *more)

    def by(self, n, *more, script=("-m", "nnabla_detofa.cli")):
        """As a call, by `n` processes."""
        command = [sys.executable, *script, "-c", self._config, *self._tiny, *more]
        return together(["-n", str(n), *command], start=self.start)

    def run(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with undisturbed(self.start), redirect_stdout(out), redirect_stderr(err):
            code = cli.main(list(arguments))
        lines = err.getvalue().replace("\r", "\n").splitlines()
        return Answer(code, out.getvalue().splitlines(), [line for line in lines if line and "%|" not in line])

    def results(self):
        """Bytes of every result by name; logs, curves and checksums are none, nor is what was set aside."""
        inside = [file.relative_to(self.folder) for file in self.folder.rglob("*") if file.is_file()]
        return {
            str(file): (self.folder / file).read_bytes()
            for file in inside
            if file.parts[0] not in ("tensorboard", "previous")
            and file.suffix not in (".log", ".txt")
            and file.name != "sums.json"
            and str(file)[0] != "."
        }

    def measured(self, name):
        """Rows of a table of measured paths, and the paths as an array."""
        table = self.rows(name)
        genes = list(table[0])
        genes = genes[1 + min(genes.index(value) for value in ("loss", "held_out_ap") if value in genes) :]
        return table, np.array([[row[gene] for gene in genes] for row in table]).astype(np.int8)

    def json(self, name):
        return json.loads((self.folder / name).read_text())

    def rows(self, name):
        """Of a table, as dictionaries."""
        with (self.folder / name).open(newline="") as stream:
            return list(csv.DictReader(stream))


@contextmanager
def undisturbed(start):
    """Work in the folder `start`; arguments, environment, logging and NNabla's context are as before afterwards."""
    context = nn.get_current_context()
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {logger: logger.level for logger in (root, logging.getLogger("nnabla"))}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(start)
        patch.setattr(sys, "argv", ["nnabla_detofa"])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        try:
            yield
        finally:
            nn.set_default_context(context)
            GlobalHydra.instance().clear()
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            for logger, level in levels.items():
                logger.setLevel(level)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, pictures):
    """A command whose run is done, with its answer; not to be run again."""
    command = Command(tmp_path_factory.mktemp("finished"), pictures)
    return command, command()


@contextmanager
def settled(searcher):
    """The runs of a searcher whose settings are checked, each put in a list instead of being done."""
    seen, algorithm = [], searcher.algorithm

    def rehearsed_only(run):
        return algorithm(run) if isinstance(run.stages, Rehearsal) else seen.append(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searcher, "algorithm", staticmethod(rehearsed_only))
        patch.setattr(searcher, "lines", staticmethod(lambda _: ()))
        yield seen


@pytest.fixture(scope="session")
def ready_run(tmp_path_factory, pictures):
    with settled(DetOFASearcher) as seen:
        assert Command(tmp_path_factory.mktemp("ready"), pictures)().code == 0
    (run,) = seen
    run.session._monitor.quiet = True  # its log is closed
    return run


@pytest.fixture
def ready(ready_run):
    """A run as the searcher builds it, its settings checked and nothing done; attributes set on it go with the test."""
    before = dict(vars(ready_run))
    yield ready_run
    vars(ready_run).clear()
    vars(ready_run).update(before)


BANNER = "-" * 74  # around what mpirun says of its own
ABSENT = "(absent)"  # not an object(): its address would make a test's name differ from process to process


def changed(options, key, value):
    """The options of a run with one of them changed or ABSENT, read as the searcher reads them."""
    hparams = options.model_dump(exclude_unset=True, exclude={"args"})
    *groups, last = key.split(".")
    group = hparams
    for name in groups:
        group = group[name]
    group[last] = value
    if value is ABSENT:
        del group[last]
    return type(options).of(hparams, dict(options.args))


@pytest.fixture
def second_process(ready, monkeypatch):
    """Makes the run's process the first of two; the other one adds the given value to every sum."""

    def join(adds):
        def all_reduce(arrays, **_):
            for array in arrays:
                array.data = array.data + np.float32(adds)

        comm = SimpleNamespace(all_reduce=all_reduce, comm=SimpleNamespace(barrier=lambda: None))
        monkeypatch.setattr(ready.processes, "_comm", comm)
        monkeypatch.setattr(ready.processes, "n", 2)
        monkeypatch.setattr(ready.processes, "require_same", lambda *_: None)
        return ready

    return join


@pytest.fixture
def command(tmp_path, pictures):
    """The command in an empty folder."""
    return Command(tmp_path, pictures)


@pytest.fixture
def interrupt(monkeypatch):
    """Makes the n-th call of a method, or none, a Ctrl-C; returns a list that grows with each call let through."""

    def patch(owner, method, *, call=1):
        calls, original = [], getattr(owner, method)
        original = getattr(original, "original", original)  # it may be patched already

        def counted(*arguments, **options):
            if len(calls) + 1 == call:
                raise KeyboardInterrupt
            calls.append(arguments)
            return original(*arguments, **options)

        counted.original = original
        monkeypatch.setattr(owner, method, counted)
        return calls

    return patch


@pytest.fixture
def again(finished, command):
    """The command where a run is done already."""
    shutil.copytree(finished[0].folder, command.folder)
    return command
