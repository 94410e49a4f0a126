"""ONNX files: the same boxes as NNabla, from pixels, in any number at once."""

import json

import numpy as np
import onnx
import pytest

from nnabla_detofa.deploy.maps import as_metadata, normalised
from nnabla_detofa.deploy.nnp import NnpMaps, maps_of, nnp_of
from nnabla_detofa.deploy.onnx_graph import model_of, require_equal
from nnabla_detofa.deploy.runtime import session_of
from nnabla_detofa.detection import decode
from nnabla_detofa.errors import HostError
from nnabla_detofa.supernet import NETWORKS, extract

DESCRIBED = {"classes": ["zero", "one", "seven"], "genotype": {"d": [1]}, "image_size": 64, "stride": 4, "version": "1"}


def pictures(*sides, n=3):
    return np.random.default_rng(1).integers(0, 256, (n, *(sides * 2)[:2], 3), np.uint8)


def answers(model, images):
    names = [one.name for one in model.graph.output]
    return dict(zip(names, session_of(model.SerializeToString()).run(None, {"images": images}), strict=True))


@pytest.mark.parametrize(
    ("number", "sides", "stem_pool"),
    [
        *[(0, (64, 64), False), (1, (96, 96), True), (2, (32, 32), False), (3, (64, 64), True)],
        *[(0, (32, 96), False), (1, (96, 64), True)],
    ],
)
def test_boxes_are_those_of_nnabla(detector, number, sides, stem_pool):
    network, images = detector(number, stem_pool=stem_pool), pictures(*sides)
    model = model_of(network, sides=sides, metadata={})
    require_equal(model, network)
    found = answers(model, images)
    wanted = decode(*maps_of(network, images), logits=True)
    k = wanted.scores.shape[1]
    assert {name: (one.shape, one.dtype) for name, one in found.items()} == {
        "boxes": ((3, 100, 4), np.float32),
        "scores": ((3, 100), np.float32),
        "labels": ((3, 100), np.int64),
    }
    np.testing.assert_allclose(found["scores"][:, :k], wanted.scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["labels"][:, :k], wanted.labels)
    np.testing.assert_allclose(found["boxes"][:, :k], wanted.boxes * network.output_stride, rtol=1e-4, atol=1e-3)
    assert not found["scores"][:, k:].any()
    assert (maps_of(network, images)[1] < 0).any() and (found["boxes"][..., :2] <= found["boxes"][..., 2:]).all()


@pytest.mark.parametrize("kernels", ["nnabla", "numpy"])
@pytest.mark.parametrize(
    ("family", "space"),
    [
        ("ofa_mbv3", {"width_scale": 0.25, "channel_divisor": 4, "depths": [1, 2]}),
        ("ofa_xception", {"width_scale": 0.125, "channel_divisor": 4, "middle_blocks": 3}),
    ],
)
def test_other_families_answer_as_nnabla(kernels, family, space, tmp_path):
    build = NETWORKS[f"{family}_centernet"].SearchNet
    supernet = build(3, space=space, neck=[8, 8, 8], head=8, head_deviation=None)
    rng = np.random.default_rng(0)
    for name, parameter in supernet.get_parameters().items():
        low = {"_mean": -0.2, "_var": 0.5, "_beta": -0.2, "_gamma": 0.5}.get(name.rpartition("/")[2])
        if low is not None:
            parameter.d = rng.uniform(low, low + 1, parameter.shape)
    for number, path in enumerate([supernet.space.largest(), *supernet.space.sample(2, rng)]):
        network = extract(supernet, path, kernels=kernels)
        model = model_of(network, sides=(64, 96), metadata={})
        require_equal(model, network)
        file = tmp_path / f"{number}.nnp"
        file.write_bytes(nnp_of(extract(supernet, path, kernels="nnabla"), sides=(64, 96)))
        images = pictures(64, 96)
        for ours, theirs in zip(NnpMaps(file)(normalised(images)), maps_of(network, images), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_any_number_of_images_gives_each_its_own_boxes(detector):
    model, images = model_of(detector(), sides=(64, 64), metadata={}), pictures(64)
    together, alone = answers(model, images), answers(model, images[1:2])
    np.testing.assert_allclose(together["boxes"][1], alone["boxes"][0], rtol=1e-4, atol=1e-3)


def test_equal_peaks_keep_the_order_of_decode(detector):
    network = detector()
    for name, parameter in network.get_parameters().items():
        if name.startswith("heads/heatmap"):
            parameter.d = 0
    found, images = answers(model_of(network, sides=(64, 64), metadata={}), pictures(64)), pictures(64)
    wanted = decode(*maps_of(network, images), logits=True)
    np.testing.assert_array_equal(found["labels"], wanted.labels)
    np.testing.assert_allclose(found["boxes"], wanted.boxes * 4, rtol=1e-4, atol=1e-3)


def test_raw_files_hold_the_maps(detector):
    network, images = detector(1), pictures(64)
    found = answers(model_of(network, sides=(64, 64), metadata={}, raw=True), images)
    logits, *rest = maps_of(network, images)
    for name, wanted in zip(("heatmap", "size", "offset"), (1 / (1 + np.exp(-logits)), *rest), strict=True):
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_a_file_says_what_it_is(detector):
    model = model_of(detector(), sides=(64, 64), metadata=as_metadata(DESCRIBED))
    said = session_of(model.SerializeToString()).get_modelmeta().custom_metadata_map
    assert json.loads(said["classes"]) == DESCRIBED["classes"] and json.loads(said["genotype"]) == DESCRIBED["genotype"]
    assert (said["image_size"], said["version"]) == ("64", "1")
    assert [one.version for one in model.opset_import] == [13]


@pytest.mark.parametrize("raw", [False, True])
def test_a_file_whose_answers_differ_is_refused(detector, raw):
    network = detector()
    model = model_of(network, sides=(64, 64), metadata={}, raw=raw)
    require_equal(model, network)
    for constant in model.graph.initializer:
        value = onnx.numpy_helper.to_array(constant)
        if value.ndim == 4:
            constant.CopyFrom(onnx.numpy_helper.from_array(1.1 * value, constant.name))
            break
    with pytest.raises(HostError, match="refused"):
        require_equal(model, network)


def test_a_file_whose_boxes_differ_is_refused(detector):
    network = detector()
    model = model_of(network, sides=(64, 64), metadata={})
    (stride,) = (one for one in model.graph.initializer if onnx.numpy_helper.to_array(one).tolist() == 4.0)
    stride.CopyFrom(onnx.numpy_helper.from_array(np.float32(2), stride.name))
    with pytest.raises(HostError, match="boxes"):
        require_equal(model, network)


@pytest.mark.parametrize(("number", "sides"), [(0, (64, 64)), (1, (64, 64)), (1, (32, 96))])
def test_nnp_files_hold_the_network(detector, tmp_path, number, sides):
    network, images = detector(number), pictures(*sides)
    content = nnp_of(network, sides=sides)
    assert content == nnp_of(network, sides=sides)
    (tmp_path / "detector.nnp").write_bytes(content)
    reloaded = NnpMaps(tmp_path / "detector.nnp")
    for some in (images, images[:1]):
        for found, wanted in zip(reloaded(normalised(some)), maps_of(network, some), strict=True):
            np.testing.assert_array_equal(found, wanted)
