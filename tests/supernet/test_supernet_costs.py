"""Costs of the cost model equal a count over the real network of the path."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.space import CostModel, SearchSpace
from nnabla_detofa.space.layers import convolutions, sides_of
from nnabla_detofa.supernet import Supernet
from nnabla_detofa.tasks import CenterNet


class NoDraws:
    """Weights of zero: drawing those of a large network is most of its building."""

    def standard_normal(self, shape):
        return np.zeros(shape, np.float32)

    def uniform(self, low, high, shape):  # noqa: ARG002 - as a generator's
        return np.zeros(shape, np.float32)


def count(network, image_size):
    """Multiply-accumulates of the convolutions in the graph of one image."""
    return count_of(*network(nn.Variable((1, 3, *sides_of(image_size)))))


def count_of(*outputs):
    """Multiply-accumulates of the convolutions in a graph."""
    macs = []

    def visit(function):
        if "onvolution" in function.name:
            x, weight, y = function.inputs[0], function.inputs[1], function.outputs[0]
            pixels = (x if function.name == "Deconvolution" else y).shape[2:]
            macs.append(int(np.prod(pixels)) * int(np.prod(weight.shape)))

    nn.functions.sink(*outputs).visit(visit)
    return macs


def alone(space, path, *, stem_pool=True, **task):
    options = {"kernels": "nnabla", "stem_pool": stem_pool, "rng": NoDraws()}
    return Supernet(space, CenterNet(**task), only=path, **options).apply(training=False)


def learned(network):
    return sum(p.size for p in network.get_parameters(grad_only=True).values())


def assert_counted(space, paths, image_size, *, stem_pool=True, **task):
    flops = CostModel.flops(space, image_size=image_size, stem_pool=stem_pool, **task)
    parameters = CostModel.parameters(space, **task)
    for path, macs, values in zip(paths, flops(paths), parameters(paths), strict=True):
        network = alone(space, path, stem_pool=stem_pool, **task)
        counted = count(network, image_size)
        assert len(counted) == sum(len(convolutions(layer)) for _, layer in network.steps(path))
        assert sum(counted) == macs == network.flops(image_size)(path[None])
        assert learned(network) == values


@pytest.mark.parametrize("stem_pool", [True, False], ids=["pooled stem", "bare stem"])
@pytest.mark.parametrize(("image_size", "n"), [(32, 50), ((32, 96), 10), ((64, 32), 10)])
def test_costs_of_random_paths_equal_the_count_over_their_networks(small, stem_pool, image_size, n):
    space = SearchSpace.ofa_resnet50(**small.SPACE)
    paths = space.sample(n, np.random.default_rng(0))
    assert_counted(space, paths, image_size, n_classes=3, neck=(8, 12), head=8, stem_pool=stem_pool)


@pytest.mark.parametrize("stem_pool", [True, False])
@pytest.mark.parametrize(
    "options", [{"width_scale": 0.25, "channel_divisor": 4}, {"depths": [1, 2]}], ids=["thin", "short"]
)
def test_costs_of_mobilenetv3_equal_the_count_over_its_networks(options, stem_pool):
    space = SearchSpace.ofa_mbv3(**options)
    paths = np.stack([space.smallest(), space.largest(), *space.sample(6, np.random.default_rng(0))])
    assert_counted(space, paths, (64, 96), n_classes=3, neck=(8, 12), head=8, stem_pool=stem_pool)
    detector = {"n_classes": 3, "neck": (8,), "head": 4, "stem_pool": stem_pool}
    cost = CostModel.memory(space, image_size=64, **detector)
    assert cost(paths).tolist() == [peak(alone(space, path, **detector), 64) for path in paths]


@pytest.mark.parametrize("stem_pool", [True, False])
@pytest.mark.parametrize(
    "options", [{"width_scale": 0.125, "middle_blocks": 3}, {"depths": [2], "middle_blocks": 1}], ids=["thin", "short"]
)
def test_costs_of_xception_equal_the_count_over_its_networks(options, stem_pool):
    space = SearchSpace.ofa_xception(**options)
    paths = np.stack([space.smallest(), space.largest(), *space.sample(6, np.random.default_rng(0))])
    assert_counted(space, paths, (64, 96), n_classes=3, neck=(8, 12), head=8, stem_pool=stem_pool)
    detector = {"n_classes": 3, "neck": (8,), "head": 4, "stem_pool": stem_pool}
    for image_size in (64, (32, 96)):
        cost = CostModel.memory(space, image_size=image_size, **detector)
        assert cost(paths).tolist() == [peak(alone(space, path, **detector), image_size) for path in paths]


@pytest.mark.parametrize("family", ["mobile", "flow"])
def test_a_classifier_of_another_family_costs_what_its_graph_counts(request, family):
    own_kind = request.getfixturevalue(family)
    network = own_kind.classifier(5, kernels="nnabla").apply(training=False)
    for path in own_kind.paths(network, 4):
        own = network.alone(path).apply(training=False)
        y = own(nn.Variable((1, 3, 64, 64)))
        macs = sum(count_of(y))
        network.activate(path)
        assert macs + own.classifier.linear._W.size == own.flops(64)(path[None])
        assert CostModel.of(own.network_layers(64), "parameters")(path[None]) == learned(own)


def test_costs_of_the_papers_space_equal_the_count_over_its_networks():
    space = SearchSpace.ofa_resnet50()
    paths = np.stack([space.smallest(), space.largest(), *space.sample(2, np.random.default_rng(0))])
    assert_counted(space, paths, 384, n_classes=20)


IN_PLACE = ("BatchNormalization", "ReLU", "MinimumScalar", "Add2", "AddScalar", "MulScalar", "Mul2")


def read_again(functions, step):
    """Whether what a function reads is read by a later one."""
    (x,) = functions[step].inputs
    return any(x in one.inputs for one in functions[step + 1 :])


def peak(network, image_size):
    """Bytes of the maps alive at once while the graph of one image runs, function after function."""
    functions, places, image = [], {}, nn.Variable((1, 3, *sides_of(image_size)))
    nn.functions.sink(*network(image)).visit(functions.append)
    places[image] = SimpleNamespace(floats=image.size, first=0, last=0)
    for step, function in enumerate(functions):
        for x in function.inputs:
            if x in places:  # else it is a weight
                places[x].last = step
        y = function.outputs[0]
        in_place = function.name in IN_PLACE and not (function.name == "ReLU" and read_again(functions, step))
        places[y] = places[function.inputs[0]] if in_place else SimpleNamespace(floats=y.size, first=step, last=step)
    different = {id(one): one for one in places.values()}.values()
    alive = [sum(m.floats for m in different if m.first <= step <= m.last) for step in range(len(functions) - 1)]
    return 4 * max(alive)


@pytest.mark.parametrize("stem_pool", [True, False], ids=["pooled stem", "bare stem"])
@pytest.mark.parametrize("neck", [(8, 12), (64,)])
@pytest.mark.parametrize("image_size", [64, (32, 96)])
def test_peak_memory_equals_the_maps_alive_in_the_real_graph(small, stem_pool, neck, image_size):
    space = SearchSpace.ofa_resnet50(**small.SPACE)
    detector = {"n_classes": 3, "neck": neck, "head": 8, "stem_pool": stem_pool}
    paths = np.stack([space.smallest(), space.largest(), *space.sample(15, np.random.default_rng(0))])
    cost = CostModel.memory(space, image_size=image_size, **detector)
    assert cost(paths).tolist() == [peak(alone(space, path, **detector), image_size) for path in paths]


def test_costs_of_the_supernets_path_equal_those_of_its_own_network(small):
    network = small.net(kernels="nnabla")
    for path in small.paths(network, 6):
        network.activate(path)
        assert sum(count(network, 64)) == network.flops(64)(path[None])


def test_the_networks_cost_model_takes_its_own_sizes(small):
    network = small.net(stem_pool=True)
    given = {"n_classes": 3, "neck": (8, 12, 8), "head": 8}
    expected = CostModel.flops(network.space, image_size=(96, 64), stem_pool=True, **given)
    paths = small.paths(network, 20)
    np.testing.assert_array_equal(network.flops((96, 64))(paths), expected(paths))
    assert (network.output_stride, small.net().output_stride) == (4, 2)
    maps = network(nn.Variable((1, 3, 96, 64)))
    assert [y.shape for y in maps] == [(1, 3, 24, 16), (1, 2, 24, 16), (1, 2, 24, 16)]
    assert network.target_shapes((96, 64), 7) == [[3, 24, 16], [7, 2], [7, 2], [7], [7]]
    assert network.target_shapes(96)[0] == [3, 24, 24]


def test_a_classifiers_costs_have_its_linear_layer(small):
    classifier, detector = small.classifier(5), small.net()
    paths = small.paths(classifier, 20)
    last = [classifier.steps(path)[-1][1].n_in for path in paths]
    backbone = detector.flops(64).parts(paths)[0]
    np.testing.assert_array_equal(small.classifier(5, stem_pool=False).flops(64)(paths) - backbone, 5 * np.array(last))
    of_largest = CostModel.of(classifier.network_layers(64), "parameters")(classifier.space.largest()[None])
    assert of_largest == learned(classifier)
    assert CostModel.of(classifier.network_layers(64), "memory")(paths).min() > 4 * 3 * 64**2
