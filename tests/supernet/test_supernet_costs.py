"""FLOPs and parameters of the cost model equal a count over the real network of the path."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.space import CostModel, SearchSpace
from nnabla_detofa.supernet import CenterNet


class NoDraws:
    """Weights of zero: drawing those of a large network is most of its building."""

    def standard_normal(self, shape):
        return np.zeros(shape, np.float32)

    def uniform(self, low, high, shape):  # noqa: ARG002 - as a generator's
        return np.zeros(shape, np.float32)


def count(network, image_size):
    """Multiply-accumulates of the convolutions in the graph of one image."""
    macs = []

    def visit(function):
        if "onvolution" in function.name:
            x, weight, y = function.inputs[0], function.inputs[1], function.outputs[0]
            pixels = (x if function.name == "Deconvolution" else y).shape[2:]
            macs.append(int(np.prod(pixels)) * int(np.prod(weight.shape)))

    maps = network(nn.Variable((1, 3, image_size, image_size)))
    nn.functions.sink(*maps).visit(visit)
    return macs


def alone(space, path, **options):
    return CenterNet(space, only=path, kernels="nnabla", rng=NoDraws(), **options)


def assert_counted(space, paths, image_size, *, stem_pool=True, **options):
    flops = CostModel.flops(space, image_size=image_size, stem_pool=stem_pool, **options)
    parameters = CostModel.parameters(space, **options)
    for path, macs, values in zip(paths, flops(paths), parameters(paths), strict=True):
        network = alone(space, path, stem_pool=stem_pool, **options)
        counted = count(network, image_size)
        blocks = sum(np.array(space.structure.base_depths) + path[3:11:2])
        assert len(counted) == 3 * blocks + 4 + 2 + path[0] + len(network._neck) + 6
        assert sum(counted) == macs
        assert sum(p.size for p in network.get_parameters(grad_only=True).values()) == values
        assert network.flops(image_size)(path[None]) == macs


@pytest.mark.parametrize("stem_pool", [True, False], ids=["pooled stem", "bare stem"])
def test_costs_of_random_paths_equal_the_count_over_their_networks(small, stem_pool):
    space = SearchSpace.ofa_resnet50(**small.SPACE)
    paths = space.sample(50, np.random.default_rng(0))
    assert_counted(space, paths, 32, n_classes=3, neck=(8, 12), head=8, stem_pool=stem_pool)


def test_costs_of_the_papers_space_equal_the_count_over_its_networks():
    space = SearchSpace.ofa_resnet50()
    paths = np.stack([space.smallest(), space.largest(), *space.sample(2, np.random.default_rng(0))])
    assert_counted(space, paths, 384, n_classes=20)


IN_PLACE = ("BatchNormalization", "ReLU", "MinimumScalar", "Add2")


class Places(dict):
    """Where each map of a graph lies: its floats, and the steps at which it is made and read for the last time."""

    def put(self, x, step):
        self[x] = SimpleNamespace(floats=x.size, first=step, last=step)


def peak(network, image_size):
    """Bytes of the maps alive at once while the graph of one image runs, function after function."""
    functions, places, image = [], Places(), nn.Variable((1, 3, image_size, image_size))
    nn.functions.sink(*network(image)).visit(functions.append)
    places.put(image, 0)
    for step, function in enumerate(functions):
        for x in function.inputs:
            if x in places:  # else it is a weight
                places[x].last = step
        y = function.outputs[0]
        if function.name in IN_PLACE:
            places[y] = places[function.inputs[0]]
        else:
            places.put(y, step)
    different = {id(one): one for one in places.values()}.values()
    alive = [sum(m.floats for m in different if m.first <= step <= m.last) for step in range(len(functions) - 1)]
    return 4 * max(alive)


@pytest.mark.parametrize("stem_pool", [True, False], ids=["pooled stem", "bare stem"])
@pytest.mark.parametrize("neck", [(8, 12), (64,)])
def test_peak_memory_equals_the_maps_alive_in_the_real_graph(small, stem_pool, neck):
    space = SearchSpace.ofa_resnet50(**small.SPACE)
    detector = {"n_classes": 3, "neck": neck, "head": 8, "stem_pool": stem_pool}
    paths = np.stack([space.smallest(), space.largest(), *space.sample(15, np.random.default_rng(0))])
    cost = CostModel.memory(space, image_size=64, **detector)
    networks = [alone(space, path, **detector).apply(training=False) for path in paths]
    assert cost(paths).tolist() == [peak(network, 64) for network in networks]


def test_costs_of_the_supernets_path_equal_those_of_its_own_network(small):
    network = small.net(kernels="nnabla")
    for path in small.paths(network, 6):
        network.activate(path)
        assert sum(count(network, 64)) == network.flops(64)(path[None])


def test_the_networks_cost_model_takes_its_own_sizes(small):
    network = small.net(stem_pool=True)
    given = {"n_classes": 3, "neck": (8, 12, 8), "head": 8}
    expected = CostModel.flops(network.space, image_size=96, stem_pool=True, **given)
    paths = small.paths(network, 20)
    np.testing.assert_array_equal(network.flops(96)(paths), expected(paths))
    assert network.output_stride == 4
    assert small.net().output_stride == 2
    assert network.image_shapes(96) == [[3, 96, 96]]
    maps = network(nn.Variable((1, 3, 96, 96)))
    assert [y.shape for y in maps] == [(1, 3, 24, 24), (1, 2, 24, 24), (1, 2, 24, 24)]
    assert network.target_shapes(96, 7) == [[3, 24, 24], [7, 2], [7, 2], [7], [7]]
