"""Losses measured on the same images rank paths by what they differ in; own images add what the images differ in."""

from itertools import count

import numpy as np
import pytest

from experiments import images_per_path as experiment
from nnabla_detofa.errors import ConfigError
from nnabla_detofa.storage.tables import NumberTable

DESIGN = experiment.Design()
N = DESIGN.measured + DESIGN.unseen
PATHS = experiment.Paths(np.arange(2 * N)[:, None], np.repeat([0, 1], N), np.tile(np.arange(N), 2))


class Measurer:
    """Knows a path's loss but for noise that its images share, and a little that is the path's own."""

    def __init__(self, images, number):
        rng = np.random.default_rng(number)
        self._shared = 10 * rng.standard_normal() / np.sqrt(images)
        self._own = 0.1 * rng.standard_normal(2 * N) / np.sqrt(images)

    def loss(self, path):
        return 0.1 * path[0] + self._shared + self._own[path[0]]


class Run:
    """Keeps which pictures it was asked to measure on."""

    def __init__(self):
        self.asked, self._numbers = [], count()

    def measurer_from(self, first, bn_images, validation_images):
        self.asked += range(first, first + bn_images + validation_images)
        return Measurer(bn_images + validation_images, next(self._numbers))


def measured(file, seconds=np.inf):
    """A complete table, the pictures asked for, and in how many pieces it was measured."""
    pieces, run, table = 1, Run(), NumberTable(file, experiment.COLUMNS)
    while not experiment.measure(run, PATHS, DESIGN, table, seconds):
        pieces, run = pieces + 1, Run()
    return table.read(), run.asked, pieces


def test_no_picture_is_used_twice_and_measuring_goes_on_where_it_stopped(tmp_path, monkeypatch):
    rows, pictures, _ = measured(tmp_path / "losses.csv")
    assert len(set(pictures)) == len(pictures) == DESIGN.images
    assert len(rows) == 2 * N + 2 * DESIGN.measured * DESIGN.sets * len(DESIGN.sizes)
    clock = count()  # a second passes whenever the clock is read
    monkeypatch.setattr(experiment.time, "monotonic", lambda: next(clock))
    again, _, pieces = measured(tmp_path / "pieces.csv", 300)
    assert pieces == 3
    np.testing.assert_array_equal(again, rows)


def test_losses_of_another_design_are_not_gone_on_with(tmp_path):
    measured(tmp_path / "losses.csv")
    other = DESIGN._replace(measured=DESIGN.measured - 2)
    with pytest.raises(ConfigError, match="another --out"):
        experiment.measure(Run(), PATHS, other, NumberTable(tmp_path / "losses.csv", experiment.COLUMNS), np.inf)


def test_shared_noise_spoils_only_the_order_of_losses_from_different_images(tmp_path):
    seen = []

    def score(losses, which, seed):
        assert len(losses) == np.count_nonzero(which)
        seen.append((len(losses), seed))
        return -np.arange(2 * DESIGN.unseen)

    judge = experiment.Judge(DESIGN, PATHS, measured(tmp_path / "losses.csv")[0], {"perfect": score})
    found = judge.by_images()
    same, own = (found[way][:, :, 0] for way in ("same images", "own images"))
    assert same.shape == own.shape == (len(DESIGN.sizes), DESIGN.sets)
    assert (same > 0.9).all() and (own.mean(axis=1) < 0.6).all() and (found["the truth"] == 1).all()
    assert set(seen) == {(2 * DESIGN.measured, seed) for seed in range(DESIGN.sets)}
    assert (found["own images"][:, :, 1:] == 1).all()  # rankers are judged on the paths that were not measured
    assert len(experiment.table(DESIGN, found, ["perfect"])) == 2 + 2 * len(DESIGN.sizes) + 1
    alone = DESIGN._replace(sizes=DESIGN.sizes[:1])
    lines = experiment.table(alone, {way: values[:1] for way, values in found.items()}, ["perfect"])
    said = {way.strip(): int(images) for images, way in (line.split("|")[1:3] for line in lines[2:])}
    assert said == {**dict.fromkeys(("same images", "own images"), *alone.sizes), "the truth": sum(experiment.TRUTH)}
    fewer = judge.by_paths()
    assert [*fewer] == DESIGN.counts == [2, 5, 10]
    np.testing.assert_array_equal(fewer[10], found["same images"])
    assert {n for n, _ in seen} == {2 * count for count in DESIGN.counts}
    lines = experiment.table_by_paths(DESIGN, fewer, ["perfect"])
    assert len(lines) == 2 + len(fewer) * len(DESIGN.sizes) and lines[2].startswith("| 2 | 12 | 1.000")


def test_every_path_of_a_bucket_has_images_of_its_own():
    """A loss that tells the set alone: on the same images all are equal, on their own all differ."""
    images, (low, *_) = sum(experiment.TRUTH), DESIGN.sizes
    truth = [(images, 0, path, path) for path in range(2 * N)]
    sets = [(low, each, path, each) for each in range(DESIGN.sets) for path in range(2 * N) if path % N < 10]
    rows = np.array(truth + [(size, *rest) for size in DESIGN.sizes for _, *rest in sets], float)
    found = experiment.Judge(DESIGN, PATHS, rows, {}).by_images()
    assert (found["same images"] == 0).all() and (found["own images"][:, 0, 0] == 1).all()


def test_how_many_same_images_are_worth_as_much_as_own_ones():
    same, own = (np.repeat(np.array(values)[:, None, None], 2, axis=1) for values in ((0.1, 0.2, 0.3, 0.4), [0.2] * 4))
    (line,), (worse,) = (
        experiment.fewer_images(DESIGN, {"same images": same, "own images": own - by}) for by in (0, 0.15)
    )
    assert "324 own = 36 same" in line and "324 own = at most 12 same" in worse
