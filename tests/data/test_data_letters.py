"""The generated letters: reproducible to the byte, boxes around the ink, classes in equal numbers, splits apart."""

import hashlib
import importlib.util
from collections import Counter

import numpy as np
import pytest

from nnabla_detofa.data import letters, scenes
from nnabla_detofa.data.letters import LettersOptions, drawn, in_equal_numbers, pictures
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.errors import ConfigError, DataError

SMALL = {"n_train": 6, "n_test": 4, "image_size": 64}


def generate(root, **options):
    return letters.generate(root, LettersOptions(**options))


def digest(devkit):
    whole = hashlib.sha256()
    for file in sorted(devkit.rglob("*.*")):
        whole.update(f"{file.relative_to(devkit)}".encode() + file.read_bytes())
    return whole.hexdigest()


def test_same_options_give_the_same_bytes(tmp_path):
    first = generate(tmp_path / "a", **SMALL)
    assert digest(first) == digest(generate(tmp_path / "b", **SMALL))
    assert digest(first) != digest(generate(tmp_path / "b", seed=1, **SMALL))
    assert first.name.startswith("letters-") and len([*first.rglob("*.jpg")]) == 10


def test_ordinary_loader_reads_it(tmp_path):
    own = {"n_train": 40, "n_test": 20, "classes": ["Q", "A"], "objects": [1, 1]}
    options = {"root": tmp_path, "letters": SMALL | own, "image_size": 64, "workers": 0}
    train, test = DataLoader(False, True, 2, **options), DataLoader(False, False, 2, **options)
    assert train.classes == test.classes == ("A", "Q")
    assert train.dataset.class_counts.tolist() == [20, 20] and test.dataset.class_counts.tolist() == [10, 10]
    assert train.dataset.findings == ()
    train.next()


@pytest.mark.parametrize("sides", [(64, 64), (64, 96), (200, 96)])
def test_boxes_hold_the_ink_and_nothing_else_does(sides):
    options = LettersOptions(texture=0, noise=0, image_size=sides, objects=(1, 4), n_train=20)
    for pixels, placed, _ in pictures(options, testing=False):
        changed = (np.abs(pixels.astype(int) - np.median(pixels, axis=(0, 1))) > 1).any(axis=2)
        assert changed.any() and changed.shape == sides
        for (x1, y1, x2, y2), letter in placed.items():
            inside = changed[y1:y2, x1:x2]
            assert letter in options.classes
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            assert max(inside.shape) < 0.65 * min(sides)
            changed[y1:y2, x1:x2] = False
        assert not changed.any()


@pytest.mark.parametrize("rotation", [0, 25, 180])
def test_a_letter_stays_within_its_size(rotation):
    """Its longer side is between the two ends of `scale`, for a letter that is as wide as high."""
    options = LettersOptions(classes=["O"], faces=["Sans"], rotation=rotation, shear=0, scale=(0.4, 0.5))
    (opacity,), rng = drawn(options)["O"], np.random.default_rng(0)
    sizes = [max(letters._turned(opacity, options, rng).shape) for _ in range(50)]
    assert min(sizes) > 0.4 * 64 * 0.65 and max(sizes) < 0.5 * 64 + 3


def test_a_letter_is_turned_both_ways_and_no_further_than_told():
    """By the direction of an I, whose ink is a straight line."""
    options = LettersOptions(classes=["I"], faces=["Sans"], rotation=25, shear=0, scale=(0.9, 0.9), image_size=96)
    (opacity,), rng, found = drawn(options)["I"], np.random.default_rng(0), []
    for _ in range(60):
        rows, columns = np.nonzero(letters._turned(opacity, options, rng) > scenes.INK)
        found.append(np.degrees(np.polyfit(rows, columns, 1)[0]))
    assert min(found) < -15 and max(found) > 15 and max(map(abs, found)) < 29


@pytest.mark.parametrize("n", [0, 1, 25, 26, 27, 1000])
def test_classes_come_in_equal_numbers(n):
    found = in_equal_numbers("ABCDEFGHIJKLMNOPQRSTUVWXYZ", n, np.random.default_rng(n))
    counts = Counter(found)
    assert len(found) == n and max(counts.values(), default=0) - (min(counts.values()) if n >= 26 else 0) <= 1
    assert n < 26 or found[:26] != sorted(found[:26])


def test_every_face_draws_every_letter_in_its_own_way():
    found = drawn(LettersOptions(faces=letters.FACES))
    assert len(found) == 26
    for glyphs in found.values():
        assert len({one.tobytes() for one in glyphs}) == len(letters.FACES)
        assert all(one.max() > 0.9 and 20 < one.shape[0] < 1.5 * letters.DRAWN for one in glyphs)


def test_splits_have_other_parts_of_the_photographs_and_other_random_numbers():
    train, test = (scenes.photographs(testing=testing) for testing in (False, True))
    assert [one.shape[1] for one in train] == [480, 480] and [one.shape[1] for one in test] == [160, 160]
    options = LettersOptions(n_train=12, n_test=12)
    kinds = [[list(one.placed.values()) for one in pictures(options, testing=testing)] for testing in (False, True)]
    assert kinds[0] != kinds[1]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"scale": [0.05, 0.5]}, "letters.scale"),
        ({"faces": ["Comic"]}, "faces"),
        ({"classes": ["a"]}, "classes"),
        ({"rotation": 181}, "rotation"),
    ],
)
def test_letters_that_could_not_be_drawn(tmp_path, changed, key):
    with pytest.raises(ConfigError) as caught:
        DataLoader(False, True, 2, root=tmp_path, letters=SMALL | changed)
    assert key in caught.value.key


def test_without_the_fonts(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="DejaVuSans.ttf"):
        generate(tmp_path, **SMALL)


def test_without_the_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes.resources, "files", lambda _: tmp_path)
    with pytest.raises(DataError, match="scikit-learn"):
        generate(tmp_path, **SMALL)
