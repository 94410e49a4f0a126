"""CUDA beside the CPU, for somebody who has a GPU: `make test-gpu` says in minutes whether all is well.

Every layer and loss in single and in half precision, whole runs in half, two GPUs against one, and times. In `make
test` NNabla's functions on the CPU stand in for cuDNN's in what is quick, so that this module itself has run; `make
test-gpu CONTEXT=cpu` lets them stand in for everything.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context
from small_runs import NETWORK, TINY, arrays, overrides

from nnabla_detofa.detection import decode
from nnabla_detofa.errors import HostError
from nnabla_detofa.host.gpus import device_number, open_cuda
from nnabla_detofa.precision import single_precision
from nnabla_detofa.supernet import NETWORKS, reestimate
from nnabla_detofa.supernet.elastic import ElasticBatchNorm
from nnabla_detofa.supernet.modules import swapped
from nnabla_detofa.tasks.losses import centre_l1_loss, cross_entropy, focal_loss
from nnabla_detofa.tasks.peaks import PeakGraph
from nnabla_detofa.training.gradients import PathGradients

ASKED = os.environ.get("DETOFA_TEST_CONTEXT", "")  # by `make test-gpu`: cudnn, or cpu
CPU = get_extension_context("cpu")
SPACES = {
    "ofa_resnet50": NETWORK["space"],
    "ofa_mbv3": {"width_scale": 0.125, "channel_divisor": 4, "depths": [1, 2], "kernels": [3, 5]},
}
# of a difference's norm in that of the values; what a ReLU has on the other side of 0 loses its whole gradient
TOLERANCE = {"float": 1e-3, "half": 0.25}
SIDE = 16


def networks(**options):
    """A small detector and a classifier of each family; their kernels are NNabla's functions where options say so."""
    found = []
    for family, space in SPACES.items():
        detector, classifier = (NETWORKS[f"{family}_{task}"].SearchNet for task in ("centernet", "classifier"))
        found.append(detector(3, **{**NETWORK, "space": space, **options}))
        found.append(classifier(3, drop_rate=0.0, space=space, **options))
    return found


def layers():
    """Each kind of layer once, at fewer channels than its module has: (network, place) by a name."""
    found = {}
    for number, network in enumerate(networks()):
        for place, layer in network.steps(network.space.smallest()):
            squeezed = " squeezed" if layer.squeeze else ""
            name = f"{layer.kind} {layer.shortcut} stride {layer.stride} {layer.activation}{squeezed}"
            found.setdefault(name, (number, place))
    return found


LAYERS = layers()


@pytest.fixture(params=["float", "half"])
def precision(request):
    return request.param


@pytest.fixture
def device():
    """Gives the context of the device that is compared with the CPU, in a precision."""
    name = ASKED or "cpu"
    number = "0"
    if name == "cudnn":
        try:
            number = str(device_number(open_cuda()[1]))
        except HostError as error:
            pytest.skip(f"not run, it needs a GPU: {error}")
    return lambda type_config="float": get_extension_context(name, device_id=number, type_config=type_config)


@pytest.fixture
def thorough(device):
    """The device, in what takes longer."""
    if not ASKED:
        pytest.skip("not run, `make test-gpu` does")
    return device


def same(found, expected, tolerance):
    """All arrays by name, but for a share of their norm."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        ours = np.asarray(found[name], np.float64)
        assert ours.shape == value.shape, name
        off = np.linalg.norm(ours - value) / max(np.linalg.norm(value), 1e-6)
        assert off <= tolerance, f"{name} is off by {off:.2g} of its norm"


def differentiated(outputs, wanted, seed=2):
    """Values of the outputs, and the gradients of a random sum of them with respect to what is `wanted` by name."""
    rng = np.random.default_rng(seed)
    outputs = [one.apply(persistent=True) for one in outputs]
    with single_precision():
        loss = F.add_n(*[F.sum(one * nn.Variable.from_numpy_array(rng.standard_normal(one.shape))) for one in outputs])
    for variable in wanted.values():
        variable.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    found = {f"output {number}": one.d.astype(np.float64) for number, one in enumerate(outputs)}
    return found | {f"gradient of {name}": one.g.astype(np.float64) for name, one in wanted.items()}


def of_layer(number, place, images, context, *, channel_major):
    """Output, gradients and statistics of a layer of a fresh network in training."""
    network = networks()[number]
    module, layer = network.layers[place], dict(network.steps(network.space.smallest()))[place]
    module.apply(training=True, channel_major=channel_major)
    rng = np.random.default_rng(3)
    for name, one in module.get_parameters().items():
        if name.endswith(
            "_beta"
        ):  # at 0, a scale in front of a depthwise convolution and its normalisation has no effect
            one.d = rng.normal(0, 0.3, one.shape)
    x = nn.Variable.from_numpy_array(images(layer), need_grad=True)
    with nn.context_scope(context):
        y = module(swapped(x) if channel_major else x, layer=layer)
        if channel_major and layer.kind not in ("head", "linear"):
            y = swapped(y)
        found = differentiated([y], {"the input": x, **module.get_parameters(grad_only=True)})
    for name, one in module.get_modules():
        if isinstance(one, ElasticBatchNorm):
            one.flush()
            found |= {f"{name} mean": one.bn._mean.d.copy(), f"{name} variance": one.bn._var.d.copy()}
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_layer(device, precision, name):
    """Beside the kernels of the CPU."""

    def images(layer):
        return np.random.default_rng(1).standard_normal((4, layer.n_in, SIDE, SIDE)).astype(np.float32)

    expected = of_layer(*LAYERS[name], images, CPU, channel_major=True)
    same(of_layer(*LAYERS[name], images, device(precision), channel_major=False), expected, TOLERANCE[precision])


def loss_cases():
    """Losses by name, as functions of variables, with the arrays that they get; the first one is differentiated."""
    rng = np.random.default_rng(0)
    logits, heat = 3 * rng.standard_normal((2, 3, 8, 8)), rng.uniform(0, 0.9, (2, 3, 8, 8))
    heat[:, 1, 2, 3] = 1
    values, index = rng.standard_normal((2, 2, 8, 8)), rng.integers(0, 64, (2, 5))
    classes, labels = 2 * rng.standard_normal((6, 3)), rng.integers(0, 3, (6, 1))
    wanted = np.eye(3)[labels[:, 0]]
    task = networks()[1].task
    return {
        "focal": (focal_loss, logits, heat),
        "centre L1": (centre_l1_loss, values, rng.standard_normal((2, 5, 2)), index, np.ones((2, 5))),
        "cross entropy": (cross_entropy, classes, wanted),
        "smoothed": (lambda x, y: task.loss(x, [y], training=True), classes, labels),
        "distillation": (task.kd_loss, classes, classes[::-1]),
    }


LOSSES = loss_cases()


@pytest.mark.parametrize("name", LOSSES)
def test_loss(device, precision, name):
    """Of values that are rounded to the precision."""
    loss, *given = LOSSES[name]
    given = [np.asarray(one, np.float16 if precision == "half" else np.float32) for one in given]

    def on(context):
        variables = [
            nn.Variable.from_numpy_array(one.astype(np.float32), need_grad=not n) for n, one in enumerate(given)
        ]
        with nn.context_scope(context):
            return differentiated([loss(*variables)], {"the first": variables[0]})

    same(on(device(precision)), on(CPU), TOLERANCE[precision])


def test_peaks(device):
    rng = np.random.default_rng(1)
    maps = [rng.standard_normal((2, channels, 12, 16)).astype(np.float32) for channels in (3, 2, 2)]
    with nn.context_scope(device()):
        found = PeakGraph(*[nn.Variable.from_numpy_array(one) for one in maps], top=20)()
    for ours, theirs in zip(found, decode(*maps, top=20, logits=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("number", [0, 2], ids=list(SPACES))
def test_network(device, precision, loader, number):
    """A path's loss, its gradients, and what they are divided by; then its statistics from the same images."""
    batch = loader().next()

    def on(context, kernels):
        network = networks(kernels=kernels)[number]
        network.activate(network.space.smallest())
        network.apply(training=True)
        images, *targets = [nn.Variable.from_numpy_array(one) for one in (*batch["inputs"], *batch["targets"])]
        parameters = network.get_parameters(grad_only=True)
        with nn.context_scope(context):
            solver = S.Sgd(1.0)
            solver.set_parameters(parameters)
            solver.zero_grad()
            loss = network.loss(network(images), targets)
            loss.forward(clear_no_need_grad=True)
            loss.backward(clear_buffer=True)
            gradients = PathGradients(parameters, solver, on_device=kernels == "nnabla")
            assert not gradients.check_inf_or_nan_grad()
            found = {"loss": loss.d.copy(), "gradient": np.concatenate([one.data.ravel() for one in gradients.arrays])}
            reestimate(network, batch["inputs"])
        statistics = [
            one.d.ravel() for name, one in network.get_parameters().items() if name.endswith(("_mean", "_var"))
        ]
        return found | {"statistics": np.concatenate(statistics)}

    # the gradients that ReLU loses are those of all layers before it
    same(on(device(precision), "nnabla"), on(CPU, "numpy"), {"float": 1e-2, "half": 0.4}[precision])


@pytest.mark.parametrize("type_config", ["half", "mixed_half"])
def test_demo(thorough, command, type_config):
    """The whole method, shortened."""
    if ASKED == "cpu" and type_config == "mixed_half":
        pytest.skip("not run, a CPU has no mixed_half")
    thorough()
    answer = command(f"args.context={ASKED}", f"args.type_config={type_config}")
    assert answer.code == 0, answer.err
    assert all(0 <= row["ap"] <= 1 for row in command.json("summary.json")["pareto"])


def test_two_processes_are_one_that_accumulates(thorough, pictures, tmp_path):
    """2 with mini-batches of 8, and 1 that adds up two of them: through NCCL where the context is cudnn."""
    thorough()
    launcher = next((one for one in (Path(sys.executable).with_name("mpirun"), shutil.which("mpirun")) if one), None)
    if launcher is None or not Path(launcher).exists():
        pytest.skip("not run, it needs mpirun: pip install 'nnabla-detofa[mpi]'")
    if ASKED == "cudnn" and (visible := open_cuda()[1]) < 2:
        pytest.skip(f"not run, it needs 2 GPUs and sees {visible}")
    own = [*overrides(TINY), f"dataloader.voc.root={pictures}", f"args.context={ASKED}", "hparams.mini_batch_train=8"]
    run = [sys.executable, "-m", "nnabla_detofa.cli", "-c", "detofa_demo", *own]
    started = {1: run, 2: [str(launcher), "--allow-run-as-root", "--oversubscribe", "-n", "2", *run]}
    weights = {}
    for n, line in started.items():
        (folder := tmp_path / str(n)).mkdir()
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        weights[n] = arrays(next(folder.rglob("weights.h5")))
    trained = {name: value for name, value in weights[1].items() if not name.endswith(("_mean", "_var"))}
    found = {name: weights[2][name] for name in trained}
    flat = [{"weights": np.concatenate([one.ravel() for one in each.values()])} for each in (found, trained)]
    same(*flat, 1e-3)


def test_times(thorough):
    """Of the full network: a step with Adam, the re-estimation of statistics, and the loss of a path; printed."""
    n, side = (16, 384) if ASKED == "cudnn" else (1, 64)
    rng = np.random.default_rng(0)
    with nn.context_scope(thorough()):
        network = NETWORKS["ofa_resnet50_centernet"].SearchNet(20, kernels="nnabla")
        network.activate(network.space.largest())
        images = nn.Variable.from_numpy_array(rng.standard_normal((n, 3, side, side)).astype(np.float32))
        solver = S.Adam(1e-4)
        solver.set_parameters(network.get_parameters(grad_only=True))
        network.apply(training=True)
        trained = F.add_n(*[F.mean(one * one) for one in network(images)])

        def step():
            solver.zero_grad()
            trained.forward(clear_no_need_grad=True)
            trained.backward(clear_buffer=True)
            solver.update()
            network.get_parameters()["heads/size/output/conv/_b"].d.copy()  # waits for the device

        def statistics():
            reestimate(network, [images.d])

        def measured():
            statistics()
            network.apply(training=False)
            nn.forward_all(network(images), clear_buffer=True)

        for work in (step, statistics, measured):
            work()
            start = time.perf_counter()
            for _ in range(3):
                work()
            seconds = (time.perf_counter() - start) / 3
            print(f"{work.__name__}: {1e3 * seconds:.1f} ms for {n} images of {side} pixels, on {ASKED}")
            assert np.isfinite(seconds)
