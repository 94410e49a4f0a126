"""Timing: the clock is read around forward passes alone, and a layer alone is the layer that networks compute."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.space.layers import macs, sides_of
from nnabla_detofa.supernet import extract, reestimate
from nnabla_detofa.supernet.latency import Stopwatch, layer_forward, layer_output, network_forward


class Device:
    """A device whose passes take the given nanoseconds, counted only when someone waits for it."""

    def __init__(self, *durations):
        self.durations, self.now, self.pending, self.passes = list(durations), 0, 0, 0

    def forward(self):
        self.pending += self.durations[self.passes]
        self.passes += 1

    def synchronise(self):
        self.now, self.pending = self.now + self.pending, 0

    def stopwatch(self, **options):
        return Stopwatch(synchronise=self.synchronise, clock=lambda: self.now, **options)


def test_the_median_counts_and_warming_up_does_not():
    device = Device(10**9, 10**9, 5, 900, 7, 6, 8)
    assert device.stopwatch(repetitions=5, warm_up=2).nanoseconds(device.forward) == 7
    assert device.passes == 7


def test_a_time_was_measured_and_is_at_least_one():
    device = Device(3, 4, 0, 0)
    assert device.stopwatch(repetitions=2, warm_up=0).nanoseconds(device.forward) == 3
    assert device.stopwatch(repetitions=2, warm_up=0).nanoseconds(device.forward) == 1


def multiplied(y):
    """Multiply-accumulates of an image in the graph of y."""
    found = []

    def visit(function):
        if "onvolution" in function.name:
            x, weight, out = function.inputs[0], function.inputs[1], function.outputs[0]
            pixels = (x if function.name == "Deconvolution" else out).shape[2:]
            found.append(int(np.prod(pixels)) * int(np.prod(weight.shape)))

    y.visit(visit)
    return sum(found)


@pytest.mark.parametrize("stem_pool", [True, False], ids=["pooled stem", "bare stem"])
@pytest.mark.parametrize("image_size", [64, (32, 96)])
def test_a_layer_alone_does_the_work_of_the_layer(each, stem_pool, image_size):
    network = each.net(kernels="nnabla", stem_pool=stem_pool)
    layers = network.network_layers(image_size).distinct()
    for layer in layers[::3] + layers[-3:]:
        y = layer_output(layer, network, batch=2)
        assert y.shape == (2, layer.n_out, *sides_of(layer.behind))
        assert multiplied(y) == macs(layer)


@pytest.mark.parametrize("kind", ["stem", "block", "up", "head", "linear", "conv", "inverted", "pooled"])
def test_both_layouts_give_maps_of_the_layers_channels(small, mobile, kind):
    own = mobile if kind in ("conv", "inverted", "pooled") else small
    network = (own.classifier if kind in ("linear", "pooled") else own.net)(kernels="numpy")
    layer = next(one for one in network.network_layers(64).distinct() if one.kind == kind)
    y = layer_output(layer, network, batch=2)
    y.forward()
    assert y.shape[:2] == ((2, layer.n_out) if kind in ("head", "linear") else (layer.n_out, 2))
    assert np.isfinite(y.d).all()


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_stem_alone_has_the_networks_activation(small, activation):
    network = small.net(kernels="nnabla", stem_activation=activation)
    names = set()
    layer_output(network.steps(network.path)[0][1], network, batch=1).visit(lambda f: names.add(f.name))
    assert ("MinimumScalar" in names) == (activation == "relu6")


def test_a_whole_network_is_timed_on_images_of_its_height_and_width(small, monkeypatch):
    forwarded = []
    monkeypatch.setattr(nn, "forward_all", lambda outputs, **_: forwarded.extend(outputs))
    network_forward(small.net(), (32, 96), batch=2)()
    assert [y.shape for y in forwarded] == [(2, n, 16, 48) for n in (3, 2, 2)]


def test_a_classifiers_answer_is_one_output_and_not_one_for_each_image(small, monkeypatch):
    network, forward_all, asked = small.classifier(), nn.forward_all, []

    def forward(outputs, **options):
        asked.append([one.shape for one in outputs])
        forward_all(outputs, **options)

    monkeypatch.setattr(nn, "forward_all", forward)
    network_forward(network, 32, batch=4)()
    assert reestimate(network, [np.zeros((4, 3, 32, 32), np.float32)]) == 4
    assert asked == [[(4, small.CLASSES)]] * 2


@pytest.mark.parametrize("kernels", ["numpy", "nnabla"])
@pytest.mark.parametrize("task", ["net", "classifier"])
def test_passes_can_be_repeated_and_leave_no_parameter_behind(each, kernels, task):
    before = set(nn.get_parameters(grad_only=False))
    network = getattr(each, task)(kernels=kernels)
    forwards = [layer_forward(layer, network, batch=1) for layer in network.network_layers(64).distinct()[::20]]
    forwards.append(network_forward(extract(network, network.space.smallest()), (32, 64), batch=1))
    for forward in forwards:
        for _ in range(3):
            forward()
    assert set(nn.get_parameters(grad_only=False)) == before
