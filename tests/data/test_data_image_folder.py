"""Image folders: which images belong to which class, and one line for whatever is wrong with them."""

import logging

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from nnabla_detofa.data import flaws
from nnabla_detofa.data.image_folder import DataLoader, read_image_folder
from nnabla_detofa.data.images import SUFFIXES
from nnabla_detofa.errors import DataError


class Folder:
    """An image folder that grows by `add`; the pixels of an image are all of one shade."""

    def __init__(self, root):
        self.root = root

    def add(self, name, shade=0, *, size=(40, 30)):
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((size[1], size[0], 3), shade, np.uint8))
        return file

    def list(self, *lines):
        (self.root / "list.txt").write_text("\n".join(lines))
        return self.root / "list.txt"


@pytest.fixture
def folder(tmp_path):
    """Three classes with 3, 1 and 2 training images and one validation image each; hidden files and a readme."""
    made = Folder(tmp_path / "set")
    for part, counts in (("train", {"cat": 3, "ant": 1, "bee": 2}), ("val", {"ant": 1, "bee": 1, "cat": 1})):
        for name, n in counts.items():
            for i in range(n):
                made.add(f"{part}/{name}/{i}.{'JPEG' if i else 'png'}", 40 * i)
    (made.root / "train" / ".cache").mkdir()
    (made.root / "train" / "cat" / ".DS_Store").write_text("")
    return made


def make(folder, searching=False, training=True, batch_size=3, **options):
    defaults = {"image_size": 32, "workers": 0, "held_out": 2}
    return DataLoader(searching, training, batch_size, root=folder.root, **defaults | options)


def contents(dataset):
    return [(str(dataset.file(i).relative_to(dataset.root)), int(dataset.labels[i])) for i in range(len(dataset))]


TRAIN = [("ant/0.png", 0), ("bee/0.png", 1), ("bee/1.JPEG", 1), ("cat/0.png", 2), ("cat/1.JPEG", 2), ("cat/2.JPEG", 2)]


def test_folders_are_classes(folder):
    dataset = read_image_folder(folder.root, "train")
    assert (dataset.classes, dataset.name, len(dataset)) == (("ant", "bee", "cat"), "set/train", 6)
    assert contents(dataset) == TRAIN
    assert contents(dataset.subset(np.array([5, 0]))) == [TRAIN[5], TRAIN[0]]


def test_a_list_says_which_images_and_of_which_class(folder):
    listed = folder.list("cat/1.JPEG 10", "", "ant/0.png 9", "bee/0.png 10")
    dataset = read_image_folder(folder.root, "train", listed=listed)
    assert dataset.classes == ("9", "10")  # numbers are in their own order
    assert contents(dataset) == [("cat/1.JPEG", 1), ("ant/0.png", 0), ("bee/0.png", 1)]
    folders = read_image_folder(folder.root, "train", listed=folder.list("cat/1.JPEG", "ant/0.png"))
    assert folders.classes == ("ant", "cat")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the list .*list.txt names no image"),
        *(([name], f"lists {name}, but .*/train does not have it") for name in ("cat/9.png", "dog/9.png", "0.png")),
        *(([name], "leads out of") for name in ("../val/cat/0.png cat", "/etc/passwd cat", "cat/../0.png")),
        (["flat.png"], "lists flat.png without a class; a line is a file and its class, or"),
        (["\0x/0.png"], "does not have it"),
        (["\ud800/0.png"], "cannot read the list of images"),
        (None, "cannot read the list of images .*list.txt: "),
    ],
)
def test_what_is_wrong_with_a_list_is_said(folder, lines, said):
    folder.add("train/flat.png")
    file = folder.root / "list.txt"
    if lines is not None:
        file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=said):
        read_image_folder(folder.root, "train", listed=file)


def test_all_that_is_wrong_with_a_list_is_found(folder):
    folder.add("train/0.png")
    listed = folder.list("cat/9.png", "0.png", "../x.png", "cat/0.png", "0.png tree frog")
    found = read_image_folder(folder.root, "train", listed=listed, strict=False)
    assert (contents(found), found.classes) == ([("cat/0.png", 0), ("0.png", 1)], ("cat", "tree frog"))
    wrong = [flaws.Flaw.IMAGE_MISSING, flaws.Flaw.ANNOTATION_BROKEN, flaws.Flaw.NAME_LEADS_OUT]
    assert [one.flaw for one in found.findings] == wrong


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("none", "cannot list the folder .*/none: No such file or directory; it must hold"),
        ("empty/", "empty holds no folder; it must hold one folder of images for each class"),
        ("part/dog/", "the class folder .*/part/dog holds no image \\(.jpg, .jpeg, .*.tif, .*fill it or"),
        ("part/dog/a.JPG2", "the class folder .*/part/dog holds no image"),
    ],
)
def test_folders_that_hold_nothing_are_said(tmp_path, there, said):
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).mkdir() if there.endswith("/") else there == "none" or (tmp_path / there).touch()
    with pytest.raises(DataError, match=said):
        read_image_folder(tmp_path, there.partition("/")[0])


def test_what_is_left_out_is_said_once(folder, caplog):
    flaws.tell.cache_clear()
    (folder.root / "train" / "cat" / "readme.txt").write_text("")
    listed = folder.list("cat/1.JPEG", "ant/0.png", "cat/1.JPEG cat")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            make(folder)
            assert len(make(folder, training=True, searching=False, train_list=listed).dataset) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "set/train: 1 x file beside class folders, or in one and no image: left out (readme.txt)",
        "set/train: 1 x image listed twice in a split: counted once, in the class that it has last"
        " (list.txt object cat/1.JPEG)",
    ]


def test_classes_of_one_part_only(folder):
    folder.add("val/dog/0.png")
    (folder.root / "val" / "ant" / "0.png").unlink()
    (folder.root / "val" / "ant").rmdir()
    test = make(folder, training=False)
    assert test.classes == ("ant", "bee", "cat")
    assert contents(test.dataset) == [("bee/0.png", 1), ("cat/0.png", 2)]
    (said,) = test.dataset.findings
    assert (said.flaw, said.place) == (flaws.Flaw.CLASS_ONLY_IN_TEST, "dog")
    assert said.detail == "'dog'; dataloader.image_folder.classes=[ant, bee, cat, dog] adds it"


def test_given_classes_select_and_give_the_labels_their_order(folder, caplog):
    own = make(folder)
    assert make(folder, classes=[*reversed(own.classes)]).classes == own.classes[::-1]
    flaws.tell.cache_clear()
    with caplog.at_level(logging.WARNING):
        some = make(folder, classes=["cow", "cat", "bee"])
    assert contents(some.dataset) == [(file, {"cat": 1, "bee": 2}[file[:3]]) for file, _ in TRAIN[1:]]
    assert [record.getMessage() for record in caplog.records] == [
        "set/train: 1 x object of a class that is not listed: left out (ant)",
        "set/train: 1 x class that the training split does not have: kept; it is not learnt (train object cow)",
    ]
    with pytest.raises(DataError, match="set/train has no object of the classes cow; it has ant, bee, cat"):
        make(folder, classes=["cow"])


def test_batches_have_the_form_that_the_host_expects(folder):
    loader = make(folder, training=False, batch_size=2)
    batch = loader.next()
    assert contents(loader.dataset) == [("ant/0.png", 0), ("bee/0.png", 1), ("cat/0.png", 2)]
    assert [one.shape for one in batch["inputs"]] == [(2, 3, 32, 32)]
    assert [one.tolist() for one in batch["targets"]] == [[[0], [1]]]
    assert loader.target_shapes() == [[1]]
    assert (loader.n_classes, len(loader), loader.task) == (3, 3, "classification")
    *_, last = loader.batches()
    assert (last.n_valid, last.indices.tolist()) == (1, [2, 2])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_images_of_every_known_suffix(tmp_path, suffix, case):
    kinds = {".gif": "GIF", ".jp2": "JPEG2000", ".pgm": "PPM", ".ppm": "PPM", ".jfif": "JPEG", ".jpe": "JPEG"}
    pixels = np.full((20, 30, 3), 77, np.uint8)
    for part in ("train", "val"):
        (tmp_path / part / "cat").mkdir(parents=True)
        with (tmp_path / part / "cat" / f"a{case(suffix)}").open("wb") as file:
            Pillow.fromarray(pixels).save(file, kinds.get(suffix) or Pillow.registered_extensions()[suffix])
    loader = DataLoader(False, True, 1, root=tmp_path, image_size=32, held_out=0, workers=0)
    assert loader.next()["inputs"][0].shape == (1, 3, 32, 32)


def test_generated_digits_are_an_image_folder(tmp_path):
    generate = {"classes": [1, 7], "n_train": 9, "n_test": 4, "image_size": 32}
    options = {"root": tmp_path, "image_size": 32, "held_out": 3, "generate": generate, "workers": 0}
    train, test = DataLoader(True, True, 2, **options), DataLoader(False, False, 2, **options)
    assert train.classes == test.classes == ("1", "7")
    assert (len(train), len(test)) == (6, 4)
    assert np.bincount(DataLoader(False, True, 2, **options).dataset.labels).tolist() == [5, 4]
    assert test.next()["inputs"][0].std() > 0.1
