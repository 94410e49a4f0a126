"""Options of data sets: what they may not be is named with its key, and numbers of NumPy are numbers."""

import numpy as np
import pytest

from nnabla_detofa.data import coco, image_folder, voc
from nnabla_detofa.errors import ConfigError

WHOLE = ["image_size", "max_objects", "workers", "prefetch", "seed", "cache_megabytes", "output_stride"]
WRONG = {
    voc: [
        *((key, value) for key in WHOLE for value in (-1, 1.5, True, "x", None)),
        *(("root", value) for value in ("", None, 3)),
        *(("held_out", value) for value in (-1, -0.1, 1.0, 2.5, True, "x", None)),
        *(("classes", value) for value in ("cat", [], 3, [1, 2, "1"])),
        *(("train", value) for value in ("trainval", [], None, ["trainval"], [[2007]])),
        *(("images_expected", value) for value in (3, {"train": 3, "test": 0}, {"train": 3, "test": 1.5, "x": 1})),
        *(("image_size", value) for value in (500, 20, 0, [64], [64, 96, 3], [64, 500], [0, 64], [-64, 64], [])),
        *(("image_size", value) for value in ([64, "x"], "64x96", "[64, 96]", [64.0, 96], [True, 64], {"height": 64})),
        *[("output_stride", 3), ("examine", 1), ("generate", True), ("augment", None), ("augment", [1])],
    ],
    "voc.augment": [
        *(("scales", value) for value in ([], [0], "0.5", 0.5)),
        *[("flip", 1.5), ("flip", True), ("colour", 1), ("shift", -0.1), ("zoom", "x"), ("lighting", -1)],
        *[("border", -1), ("crop", "no")],
    ],
    "voc.generate": [
        *(("classes", value) for value in ([10], [], 3, "12", [1, 1])),
        *[
            ("n_train", 0),
            ("image_size", 8),
            ("image_size", [32, 8]),
            ("contrast", 1),
            ("texture", 2),
            ("texture", "x"),
        ],
        *(("objects", value) for value in ([0, 2], 3, [1.5, 2], [2, 1])),
        *(("scale", value) for value in ([0.5, 0.4], [0.5, 1.1])),
    ],
    coco: [("root", ""), ("train", "train2017"), ("test", ["val2017"])],
    image_folder: [("val", ""), ("centre", 0), ("train_sizes", []), ("train_sizes", [16]), ("generate", 3)],
    "image_folder.augment": [("area", [0.5, 0.1]), ("area", [0, 1]), ("area", [0.5, 1.5]), ("ratio", 1)],
    "image_folder.generate": [("objects", [1, 3])],
}
LOADERS = {"voc": voc, "coco": coco, "image_folder": image_folder}


def make(loader, options):
    return loader.DataLoader(True, True, 2, **{"root": ".", **options})


@pytest.mark.parametrize(("place", "key", "value"), [(place, *one) for place, found in WRONG.items() for one in found])
def test_what_an_option_may_not_be(place, key, value):
    name, _, group = place.partition(".") if isinstance(place, str) else (place.__name__.rpartition(".")[2], "", "")
    options = {group: {key: value}} if group else {key: value}
    with pytest.raises(ConfigError) as caught:
        make(LOADERS[name], options)
    assert caught.value.key.startswith(".".join(filter(None, ["dataloader", name, group, key])))
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("loader", "options", "known"),
    [
        (voc, {"image_sise": 64}, "image_size"),
        (voc, {"augment": {"flipp": 0}}, "flip"),
        (voc, {"generate": {"klasses": [1]}}, "classes"),
        (coco, {"years": [2007]}, "train"),
        (image_folder, {"augment": {"scales": [1]}}, "area"),
        (image_folder, {"output_stride": 4}, "train_sizes"),
    ],
)
def test_unknown_keys_are_answered_with_the_known_ones(loader, options, known):
    with pytest.raises(ConfigError, match="unknown key") as caught:
        make(loader, options)
    assert known in caught.value.allowed


def test_a_root_is_needed():
    with pytest.raises(ConfigError, match="lacks root"):
        voc.DataLoader(True, True, 2)


@pytest.mark.parametrize(
    ("loader", "generate", "key"),
    [
        *[(voc, {"scale": [0.01, 0.5]}, "scale"), (voc, {"image_size": [16, 96]}, "scale")],
        (image_folder, {"n_test": 2}, "n_test"),
    ],
)
def test_digits_that_could_not_be_drawn(loader, generate, key):
    with pytest.raises(ConfigError) as caught:
        make(loader, {"generate": generate})
    assert key in caught.value.key


def test_numbers_of_numpy_are_plain_ones():
    options = voc.VocOptions.of("x", {"root": ".", "image_size": np.int64(64), "held_out": np.int32(3)})
    assert [type(one) for one in (*options.image_size, options.held_out)] == [int, int, int]
    assert options.examine is False
