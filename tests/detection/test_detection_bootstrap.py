"""AP on resampled images: that of a data set in which they are repeated, and what an interval of it says."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.detection import (
    Detections,
    GroundTruth,
    JudgedAnswers,
    JudgedDetections,
    bootstrap,
    coco_ap,
    interval,
    judge_coco,
    judge_voc,
    paired_difference,
    resampled,
    resampling,
    to_coco,
    voc_ap,
    voc_ap_of,
)
from nnabla_detofa.errors import DataError

IMAGES, CLASSES = 6, 4  # the last class has no object
NAMES = [30, "b", 7, "a", 12, 5]  # ids of images, in no order
CATEGORIES = [9, None, 2, 4]  # of the classes; the file lacks the second
seeds = st.integers(0, 2**32 - 1)


def random_case(seed, n=60, m=14, coarse=True):
    """Boxes and scores that are often equal, or never."""
    rng = np.random.default_rng(seed)

    def boxes(k):
        low = rng.integers(1, 5, (k, 2))
        return np.concatenate([low, low + rng.integers(1, 4, (k, 2))], axis=1).astype(float)

    scores = rng.integers(0, 8, n) / 8 if coarse else rng.permutation(n) / n
    detections = Detections(rng.integers(0, IMAGES, n), rng.integers(0, CLASSES, n), boxes(n), scores)
    truth = GroundTruth(rng.integers(0, IMAGES, m), rng.integers(0, CLASSES - 1, m), boxes(m), rng.random(m) < 0.2)
    return detections, truth


def random_weights(seed, n=8):
    """The first are ones, the second draw one image alone."""
    rng = np.random.default_rng(seed)
    return np.concatenate([[[1] * IMAGES, IMAGES * np.eye(IMAGES, dtype=int)[2]], rng.integers(0, 4, (n, IMAGES))])


def repeated(columns, weights):
    """Each image as often as it weighs, as images of their own, the copies of a row behind each other."""
    times = weights[columns.image]
    copy = np.concatenate([np.arange(0), *map(np.arange, times)])
    rows = type(columns)(*(np.repeat(column, times, axis=0) for column in columns))
    return rows._replace(image=10 * rows.image + copy)


def instances(truth, file, n_images, name):
    """The ground truth as an instances json, difficult objects as crowds."""
    ids = [None if one is None else {"id": one, "name": str(one)} for one in CATEGORIES]
    rows = [
        {"id": i, "image_id": name(int(image)), "category_id": CATEGORIES[label], "iscrowd": int(crowd)}
        | {"bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]}
        for i, (image, label, box, crowd) in enumerate(zip(*truth, strict=True))
        if CATEGORIES[label] is not None
    ]
    content = {"images": [{"id": name(i)} for i in range(n_images)], "annotations": rows}
    file.write_text(json.dumps({**content, "categories": [one for one in ids if one]}))
    return file


def mean(aps):
    return np.nan if np.isnan(aps).all() else np.nanmean(aps)


@pytest.mark.parametrize("interpolation", ["11-point", "area"])
@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_voc_ap_by_weights_is_that_of_repeated_images(interpolation, seed):
    detections, truth = random_case(seed)
    options = {"n_classes": CLASSES, "interpolation": interpolation}
    judged = judge_voc(detections, truth, n_images=IMAGES, **options)
    weights = random_weights(seed)
    aps = judged.per_class(weights)
    once = voc_ap(detections, truth, **options)
    np.testing.assert_array_equal(voc_ap_of(judged, interpolation=interpolation), once)
    np.testing.assert_allclose(aps[0], once, rtol=0, atol=1e-12)
    for some, figure, ours in zip(weights, judged.figure(weights), aps, strict=True):
        theirs = voc_ap(repeated(detections, some), repeated(truth, some), **options)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(figure, mean(theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_coco_ap_by_weights_is_that_of_repeated_images(tmp_path, seed):
    """At ten overlaps, with crowds, with categories and images in another order than the file's."""
    detections, truth = random_case(seed, n=90, m=40, coarse=False)
    for ours, theirs in zip(detections[:3], truth[:3], strict=True):
        ours[: len(theirs)] = theirs
    detections.box[:, 2:] += np.random.default_rng(seed).uniform(0, 0.3, (90, 2))
    file = instances(truth, tmp_path / "once.json", IMAGES, NAMES.__getitem__)
    ids = {"image_ids": NAMES, "category_ids": CATEGORIES}
    results = to_coco(detections, *ids.values())
    judged, weights = judge_coco(results, file, **ids), random_weights(seed)
    assert np.isnan(judged.per_class(weights)[:, [1, 3]]).all()
    figures = judged.figure(weights)
    np.testing.assert_allclose(figures[0], coco_ap(results, file, **ids)["AP"], rtol=0, atol=1e-12)
    assert len(np.unique(figures)) > 5
    for some, figure, aps in zip(weights, figures, judged.per_class(weights), strict=True):
        file = instances(repeated(truth, some), tmp_path / "often.json", 10 * IMAGES, int)
        again = to_coco(repeated(detections, some), range(10 * IMAGES), CATEGORIES)
        np.testing.assert_allclose(figure, coco_ap(again, file)["AP"], rtol=0, atol=1e-12)
        for label in (0, 2):
            alone = coco_ap(again, file, category_ids=[CATEGORIES[label]])["AP"]
            np.testing.assert_allclose(aps[label], alone, rtol=0, atol=1e-12)


def test_without_detections_ap_is_0_and_without_objects_undefined(tmp_path):
    detections, truth = random_case(0)
    nothing, nobody = Detections(*(one[:0] for one in detections)), GroundTruth(*(one[:0] for one in truth))
    options = {"n_images": IMAGES, "n_classes": CLASSES, "interpolation": "area"}
    assert (judge_voc(nothing, truth, **options).figure(random_weights(0)) == 0)[[0, 2]].all()
    assert np.isnan(judge_voc(detections, nobody, **options).figure(random_weights(0))).all()
    file = instances(nobody, tmp_path / "nobody.json", IMAGES, NAMES.__getitem__)
    judged = judge_coco([], file, image_ids=NAMES, category_ids=CATEGORIES)
    assert np.isnan(judged.figure(random_weights(0))).all()


def test_top1_by_weights_is_the_share_of_right_images():
    judged = JudgedAnswers(np.array([True, False, True, True]), np.array([0, 0, 1, 1]), n_classes=3)
    weights = np.array([[1, 1, 1, 1], [0, 3, 1, 0], [3, 2, 0, 0]])
    assert judged.figure(weights).tolist() == [0.75, 0.25, 0.6]
    np.testing.assert_array_equal(judged.per_class(weights), [[0.5, 1, np.nan], [0, 1, np.nan], [0.6, np.nan, np.nan]])


def test_a_seed_gives_all_detectors_the_same_resamples_in_whatever_parts(monkeypatch):
    detections, truth = random_case(3)
    options = {"n_images": IMAGES, "n_classes": CLASSES, "interpolation": "area"}
    judged = judge_voc(detections, truth, **options)
    first, other = (resampled(judged, rng=np.random.default_rng(seed), n=50) for seed in (0, 1))
    assert first.shape == (50,) and (first != other).any() and len(np.unique(first)) > 10
    monkeypatch.setattr(bootstrap, "AT_ONCE", 3 * len(detections.score))
    np.testing.assert_array_equal(resampled(judged, rng=np.random.default_rng(0), n=50), first)
    asked = []
    monkeypatch.setattr(JudgedAnswers, "figure", lambda _self, weights: asked.append(weights) or np.zeros(len(weights)))
    for n in (IMAGES, 10**9):
        monkeypatch.setattr(bootstrap, "AT_ONCE", n)
        answers = JudgedAnswers(np.ones(IMAGES, bool), np.zeros(IMAGES, int), 1)
        assert len(resampled(answers, rng=np.random.default_rng(0), n=20)) == 20
    assert len(asked) == 21 and (asked[-1].sum(axis=1) == IMAGES).all()
    np.testing.assert_array_equal(np.concatenate(asked[:-1]), asked[-1])


def test_an_interval_is_as_wide_as_theory_says():
    judged = JudgedAnswers(np.arange(400) < 100, np.zeros(400, int), 1)
    found = interval(resampled(judged, rng=np.random.default_rng(0)))
    expected = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    np.testing.assert_allclose(found, [0.25 - expected, 0.25 + expected], atol=0.005)
    assert found.holds(0.25) and found.holds(found.low) and not found.holds(0.3)
    undefined = interval(np.array([np.nan, 1.0, np.nan, 3.0]))
    np.testing.assert_allclose(undefined, [1.05, 2.95])
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_an_interval_of_ap_holds_what_other_images_of_the_same_source_give():
    """200 sets of 60 images with an object each, found or missed beside a false alarm; a plain one lies above."""
    rng, n, found = np.random.default_rng(0), 60, []
    for _ in range(200):
        score, alarm = rng.normal(1, 1, n), rng.normal(0, 1, n)
        order, right = np.argsort(-np.r_[score, alarm]), np.r_[rng.random(n) < 0.7, np.zeros(n, bool)]
        label, image = np.zeros(2 * n, int), np.tile(np.arange(n), 2)[order]
        judged = JudgedDetections(
            n, 1, image, label, right[order][None], label[None] > 0, np.arange(n), label[:n], None
        )
        ap, figures = judged.figure(np.ones((1, n), int))[0], resampled(judged, rng=rng, n=200)
        found.append((ap, *interval(figures, about=ap), *interval(figures)))
    ap, low, high, plain_low, plain_high = np.array(found).T
    mean = ap.mean()
    assert 0.91 < ((low <= mean) & (mean <= high)).mean() < 0.99
    assert abs(((low + high) / 2 - ap).mean()) < 0.3 * ((plain_low + plain_high) / 2 - ap).mean()
    assert interval(np.full(9, 0.3), about=0.2) == pytest.approx((0.2, 0.2))
    assert 0.99 < interval(np.array([0.9, 1.0]), about=1.0).high <= 1


def test_intervals_of_rows_are_those_of_each_row():
    figures = np.random.default_rng(0).normal(size=(2, 3, 50))
    figures[0, 1, ::2], figures[1, 2] = np.nan, np.nan
    low, high = interval(figures)
    for place in np.ndindex(2, 3):
        np.testing.assert_equal((low[place], high[place]), tuple(interval(figures[place])))
    assert np.isnan(low).sum() == np.isnan(high).sum() == 1
    among = paired_difference(figures[0, 0], figures)
    np.testing.assert_equal(among.low[0, 2], paired_difference(figures[0, 0], figures[0, 2]).low)
    assert among.holds(0)[0, 0] and not among.holds(0)[1, 2]


def test_pairs_tell_detectors_apart_that_their_intervals_do_not():
    """One that is right where the other is and in a few images more is better, however hard the images are."""
    n, rng = 300, np.random.default_rng(0)
    worse = rng.random(n) < 0.5
    better = worse | (np.arange(n) % 25 == 0)
    figures = [
        resampled(JudgedAnswers(right, np.zeros(n, int), 1), rng=np.random.default_rng(1)) for right in (better, worse)
    ]
    assert interval(figures[0]).low < interval(figures[1]).high
    assert 0 < paired_difference(*figures).low < paired_difference(*figures).high
    assert paired_difference(*figures[::-1]).high < 0
    assert paired_difference(figures[0], figures[0]) == (0, 0)
    assert paired_difference(figures[0], figures[0]).holds(0)


@pytest.mark.parametrize("which", [0, 1])
def test_an_image_that_is_not_there_is_said(which):
    case = list(random_case(0))
    case[which] = case[which]._replace(image=case[which].image + 1)
    with pytest.raises(DataError, match=("detections", "truth")[which]):
        judge_voc(*case, n_images=IMAGES, n_classes=CLASSES, interpolation="area")


def test_what_cannot_be_resampled_or_paired_is_said():
    with pytest.raises(DataError, match="no image"):
        resampled(JudgedAnswers(np.zeros(0, bool), np.zeros(0, int), 1), rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="no pairs"):
        paired_difference(np.zeros(3), np.zeros(4))


def test_a_digest_decides_the_resamples():
    draws = [resampling(digest).integers(1000, size=20).tolist() for digest in ("a0", "a0", "a1")]
    assert draws[0] == draws[1] != draws[2]
