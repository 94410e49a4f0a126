"""VOC's masks: numbers, colours and palettes, batches of them, and what is wrong with a devkit."""

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from nnabla_detofa.data import digits, voc_masks
from nnabla_detofa.data.examination import examine, severity
from nnabla_detofa.data.flaws import Flaw, Severity
from nnabla_detofa.data.mask_files import VOC_CLASSES, MaskForm, label_map, mask_png
from nnabla_detofa.data.voc_masks import VocMaskOptions, read_voc_masks
from nnabla_detofa.errors import DataError
from nnabla_detofa.segmentation import IGNORED, VOID, voc_colours

NAMES = ("background", "cat", "dog")
SPLITS = {"train": [[2007, "train"]], "test": [[2007, "test"]]}


def mask(seed=0, shape=(20, 30)):
    """Classes of NAMES in patches, with a border that is ignored."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, (4, 5)).astype(np.uint8).repeat(5, axis=0).repeat(6, axis=1)[: shape[0], : shape[1]]
    classes[:, 12] = IGNORED
    classes[0, :3] = (0, 1, 2)  # each is there
    return classes


@pytest.fixture
def devkit(tmp_path):
    """Two images and masks in each split, of classes that its own list names."""
    home = tmp_path / "VOC2007"
    for one in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (home / one).mkdir(parents=True)
    (home / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + label_map(NAMES))
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        names = [f"{split}{number}" for number in range(2)]
        (home / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names))
        for seed, name in enumerate(names):
            cv2.imwrite(str(home / "JPEGImages" / f"{name}.jpg"), rng.integers(0, 256, (20, 30, 3), np.uint8))
            (home / "SegmentationClass" / f"{name}.png").write_bytes(mask_png(mask(seed)))
    return home


def options(home, **more):
    return VocMaskOptions.of(
        "dataloader.voc_masks", {"root": home.parent, "image_size": 32, "held_out": 0, **SPLITS, **more}
    )


def read(home, **more):
    return read_voc_masks(home.parent, SPLITS["train"], **more)


def write(home, classes, form):
    """The first mask of training in another form."""
    file = home / "SegmentationClass" / "train0.png"
    if form == "palette":
        file.write_bytes(mask_png(classes))
    elif form == "numbers":
        Pillow.fromarray(classes).save(file)
    else:
        colours = np.array([*voc_colours()], np.uint8)[classes]
        Pillow.fromarray(colours).convert("RGBA" if form == "transparent" else "RGB").save(file)


@pytest.mark.parametrize("form", ["palette", "numbers", "colours", "transparent"])
def test_masks_are_read_in_every_form(devkit, form):
    write(devkit, mask(5), form)
    data = read(devkit)
    assert data.classes == NAMES and not data.findings and len(data) == 2
    np.testing.assert_array_equal(data.images[0].classes(), mask(5))
    assert data.images[0].shown == (0, 1, 2) and data.class_counts.tolist() == [2, 2, 2]


def test_classes_select_and_order(devkit):
    data = read(devkit, classes=["dog"])
    assert data.classes == ("background", "dog") and {one.flaw for one in data.findings} == {Flaw.CLASS_LEFT_OUT}
    table = np.array([0, 0, 1, *[IGNORED] * 253], np.uint8)
    np.testing.assert_array_equal(data.images[0].classes(), table[mask(0)])
    swapped = read(devkit, classes=["background", "dog", "cat"])
    table[:3] = 0, 2, 1
    np.testing.assert_array_equal(swapped.images[0].classes(), table[mask(0)])
    assert len({one.digest for one in (data, swapped, read(devkit))}) == 3


def test_another_mask_is_another_data_set(devkit):
    before = read(devkit).digest
    assert read(devkit).digest == before
    changed = mask(0)
    changed[3, 3] = (changed[3, 3] + 1) % 3
    write(devkit, changed, "palette")
    assert read(devkit).digest != before


def test_without_a_list_of_their_own_classes_are_those_of_voc(devkit):
    (devkit / "labelmap.txt").unlink()
    assert MaskForm.beside(devkit).names == VOC_CLASSES and len(VOC_CLASSES) == 21
    assert read(devkit).classes == ("background", "aeroplane", "bicycle")


def missing(home):
    (home / "SegmentationClass" / "train0.png").unlink()


def cut_off(home):
    file = home / "SegmentationClass" / "train0.png"
    file.write_bytes(file.read_bytes()[:60])


def of_another_size(home):
    write(home, mask(0)[:-1], "palette")


def of_another_number(home):
    write(home, np.where(mask(0) == 2, 7, mask(0)).astype(np.uint8), "numbers")


def of_another_colour(home):
    write(home, np.where(mask(0) == 2, 7, mask(0)).astype(np.uint8), "colours")


def of_another_place(home):
    write(home, np.where(mask(0) == 2, 7, mask(0)).astype(np.uint8), "palette")


def without_an_image(home):
    (home / "JPEGImages" / "train0.jpg").unlink()


def without_a_list(home):
    (home / "ImageSets/Segmentation/train.txt").unlink()


def all_background(home):
    for number in range(2):
        (home / "SegmentationClass" / f"train{number}.png").write_bytes(mask_png(np.zeros((20, 30), np.uint8)))


def empty(home):
    (home / "ImageSets/Segmentation/train.txt").write_text("")


def colour_twice(home):
    (home / "labelmap.txt").write_text("background:0,0,0::\ncat:128,0,0::\ndog:128,0,0::\n")


def no_colour(home):
    (home / "labelmap.txt").write_text("background:0,0,0::\ncat:128,0::\n")


@pytest.mark.parametrize(
    ("spoil", "flaw"),
    [
        (missing, Flaw.MASK_MISSING),
        (cut_off, Flaw.IMAGE_UNREADABLE),
        (of_another_size, Flaw.SIZE_DISAGREES),
        (of_another_number, Flaw.ANNOTATION_BROKEN),
        (of_another_colour, Flaw.ANNOTATION_BROKEN),
        (of_another_place, Flaw.ANNOTATION_BROKEN),
        (without_an_image, Flaw.IMAGE_MISSING),
        (without_a_list, Flaw.SPLIT_UNREADABLE),
        (all_background, Flaw.NOTHING_TO_TRAIN),
        (empty, Flaw.SPLIT_UNREADABLE),
        (colour_twice, Flaw.SPLIT_UNREADABLE),
        (no_colour, Flaw.SPLIT_UNREADABLE),
    ],
)
def test_the_check_finds_what_training_stops_at(devkit, spoil, flaw):
    spoil(devkit)
    parts = examine(options(devkit), show=False, threads=1)
    assert flaw in {one.flaw for part in parts for one in part.findings} and severity(parts) == Severity.UNUSABLE
    with pytest.raises(DataError) as refused:
        options(devkit).read("train", None)
    assert "\n" not in str(refused.value)


def test_a_clean_set_is_clean_and_small_flaws_are_counted(devkit):
    assert severity(examine(options(devkit), show=False, threads=1)) == Severity.NOTED
    (devkit / "SegmentationClass" / "train1.png").write_bytes(mask_png(np.zeros((20, 30), np.uint8)))
    (devkit / "ImageSets/Segmentation/train.txt").write_text("train0\ntrain1\ntrain0\n# a word")
    train, _ = examine(options(devkit), show=False, threads=1)
    assert {Flaw.NO_BOXES, Flaw.LISTED_TWICE} <= {one.flaw for one in train.findings}
    assert train.counts == {"background": 1, "cat": 1, "dog": 1} and len(train.files) == 2


def test_a_class_that_training_lacks_is_background_in_the_test(devkit):
    for number in range(2):
        (devkit / "SegmentationClass" / f"train{number}.png").write_bytes(mask_png(np.minimum(mask(number), 1)))
    test = options(devkit).read("test", options(devkit).trained_classes())
    assert test.classes == NAMES[:2] and {one.flaw for one in test.findings} == {Flaw.CLASS_ONLY_IN_TEST}
    assert test.images[0].shown == (0, 1)


def loader(home, *part, **more):
    return voc_masks.DataLoader(*part, 2, **{**options(home).model_dump(), "workers": 0, "output_stride": 2, **more})


def test_cells_have_the_class_of_the_pixel_in_their_middle(devkit):
    """An image of 20×30 in 40×60 is twice as large: each pixel is a cell of stride 2."""
    data = loader(devkit, False, False, image_size=[64, 96])
    (batch,) = data.batches()
    (classes,) = batch.targets
    assert classes.shape == (2, 1, 32, 48) and data.target_shapes() == [[1, 32, 48]] and classes.dtype == np.uint8
    for one, matrix, image in zip(classes[:, 0], batch.matrix, data.dataset.images, strict=True):
        whole = image.classes()
        for row in range(32):
            for column in range(48):
                x, y = (np.array([column, row]) - matrix[:, 2]) / np.diag(matrix)
                inside = -0.5 < x < 29.5 and -0.5 < y < 19.5
                near = min(abs(x % 1 - 0.5), abs(y % 1 - 0.5)) < 0.05  # between two pixels
                assert near or one[row, column] == (whole[round(y), round(x)] if inside else IGNORED)


def test_a_warp_moves_image_and_mask_alike(devkit):
    """The picture is its own mask: what training sees of both agrees, but at edges."""
    shades = np.array([20, 120, 220])
    for number in range(2):
        classes = np.where(mask(number) == IGNORED, 0, mask(number))
        cv2.imwrite(str(devkit / "JPEGImages" / f"train{number}.png"), np.repeat(shades[classes][..., None], 3, axis=2))
        (devkit / "JPEGImages" / f"train{number}.jpg").unlink()
        (devkit / "SegmentationClass" / f"train{number}.png").write_bytes(mask_png(classes.astype(np.uint8)))
    augment = {"flip": 0.5, "colour": 0, "lighting": 0, "border": 4, "scales": [0.5, 0.7]}
    data = loader(devkit, True, True, image_size=64, output_stride=1, augment=augment)
    agree = total = 0
    for _ in range(8):
        batch = data.next()
        green = batch["inputs"][0][:, 1] * 0.224 * 255 + 0.456 * 255
        (classes,) = batch["targets"]
        inside = classes[:, 0] != IGNORED
        found = np.abs(green[..., None] - shades).argmin(axis=-1)
        agree += (found == classes[:, 0])[inside].sum()
        total += inside.sum()
    assert total > 20_000 and agree / total > 0.9


def test_generated_masks_are_where_the_ink_is(tmp_path):
    given = {"classes": [7, 1], "n_train": 6, "n_test": 4, "image_size": 48}
    data = VocMaskOptions.of(
        "dataloader.voc_masks",
        {"root": tmp_path, "generate": given, "train": [[2007, "trainval"]], "test": [[2007, "test"]]},
    ).read("train", None)
    assert data.classes == ("background", "1", "7") and len(data) == 6 and not data.findings
    drawn = digits.pictures(digits.DigitsOptions(**given), testing=False)
    for image, picture in zip(data.images, drawn, strict=True):
        expected = np.zeros((48, 48), np.uint8)
        for ((x1, y1, x2, y2), digit), ink in zip(picture.placed.items(), picture.inks, strict=True):
            expected[y1:y2, x1:x2][ink] = {1: 1, 7: 2}[digit]
        np.testing.assert_array_equal(image.classes(), expected)
        rows, columns = np.nonzero(expected)
        boxes = np.array(list(picture.placed))
        assert (columns.min(), rows.min()) == tuple(boxes[:, :2].min(axis=0))
        assert (columns.max() + 1, rows.max() + 1) == tuple(boxes[:, 2:].max(axis=0))


def test_the_border_is_vocs():
    assert VOID == (224, 224, 192)
