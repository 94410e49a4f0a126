"""VOC AP against a slow, obvious oracle, hand-made cases and pycocotools."""

import contextlib
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nnabla_detofa.detection import Detections, GroundTruth, voc_ap
from nnabla_detofa.errors import ConfigError, DataError

INTERPOLATIONS = ["11-point", "area"]
N_CLASSES = 3
seeds = st.integers(0, 2**32 - 1)


def no_detections():
    return Detections(*np.zeros((2, 0), int), np.zeros((0, 4)), np.zeros(0))


def truth_of(boxes, **columns):
    zeros = np.zeros(len(boxes), int)
    return GroundTruth(zeros, zeros, np.array(boxes), zeros > 0)._replace(**columns)


def found(boxes, scores):
    zeros = np.zeros(len(boxes), int)
    return Detections(zeros, zeros, np.array(boxes), np.array(scores))


def random_case(seed, n=40, m=12):
    """Coarse boxes, scores and images, so that overlaps and scores are often equal and often exactly one half."""
    rng = np.random.default_rng(seed)

    def boxes(k):
        low = rng.integers(1, 5, (k, 2))
        return np.concatenate([low, low + rng.integers(0, 4, (k, 2))], axis=1)

    detections = Detections(rng.integers(0, 4, n), rng.integers(0, 3, n), boxes(n), rng.integers(0, 8, n) / 8)
    truth = GroundTruth(rng.integers(0, 4, m), rng.integers(0, 3, m), boxes(m), rng.random(m) < 0.2)
    return detections, truth


def oracle_iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return w * h / (sum(areas) - w * h)


def oracle_curve(detections, truth, label, iou):
    """Precision and recall after each detection that counts, in the order of the scores."""
    positives = sum(1 for i in range(len(truth.label)) if truth.label[i] == label and not truth.difficult[i])
    rows = [i for i in range(len(detections.label)) if detections.label[i] == label]
    taken, right, wrong, curve = set(), 0, 0, []
    for i in sorted(rows, key=lambda i: -detections.score[i]):
        best, match = 0, None
        for j in range(len(truth.label)):
            if truth.label[j] == label and truth.image[j] == detections.image[i]:
                overlap = oracle_iou(detections.box[i], truth.box[j])
                if overlap > best:
                    best, match = overlap, j
        if best < iou or match in taken:
            wrong += 1
        elif truth.difficult[match]:
            continue
        else:
            taken.add(match)
            right += 1
        curve.append((right / positives if positives else 0, right / (right + wrong)))
    return positives, curve


def oracle_ap(detections, truth, *, n_classes, iou, interpolation):
    result = []
    for label in range(n_classes):
        positives, curve = oracle_curve(detections, truth, label, iou)
        if interpolation == "11-point":
            best = [max((p for r, p in curve if r >= k / 10), default=0) for k in range(11)]
            ap = sum(best) / 11
        else:
            levels = sorted({r for r, _ in curve} | {0})
            ap = sum((b - a) * max(p for r, p in curve if r >= b) for a, b in pairwise(levels))
        result.append(ap if positives else np.nan)
    return result


@given(seeds, st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.sampled_from(INTERPOLATIONS))
@settings(deadline=None, max_examples=150)
def test_equals_the_oracle(seed, iou, interpolation):
    case, options = random_case(seed), {"n_classes": N_CLASSES, "iou": iou, "interpolation": interpolation}
    np.testing.assert_allclose(voc_ap(*case, **options), oracle_ap(*case, **options), atol=1e-12)


@given(seeds)
@settings(deadline=None, max_examples=15)
def test_equals_pycocotools_where_the_rules_agree(seed):
    """One easy object an image and class; COCO's width is then the inclusive one, its recall levels those of VOC."""
    detections, truth = random_case(seed)
    _, keep = np.unique(truth.image * 10 + truth.label, return_index=True)
    truth = GroundTruth(*(column[keep] for column in truth[:3]), np.zeros(len(keep), bool))
    # COCO orders equal scores by image, which is not a rule of VOC.
    detections = detections._replace(score=np.random.default_rng(seed).permutation(len(detections.score)) / 100)

    def coco(rows, scores):
        index = COCO()
        boxes = [[float(v) for v in (*box[:2], *(box[2:] - box[:2] + 1))] for box in rows.box]
        index.dataset = {
            "images": [{"id": i} for i in range(4)],
            "categories": [{"id": c} for c in range(N_CLASSES)],
            "annotations": [
                {"id": n + 1, "image_id": int(i), "category_id": int(c), "bbox": b, "score": float(s), "iscrowd": 0}
                | {"area": b[2] * b[3]}
                for n, (i, c, b, s) in enumerate(zip(rows.image, rows.label, boxes, scores, strict=True))
            ],
        }
        index.createIndex()
        return index

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truth, np.zeros(len(keep))), coco(detections, detections.score), "bbox")
        evaluation.params.iouThrs, evaluation.params.recThrs = np.array([0.5]), np.arange(11) / 10
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1].mean(axis=0)
    expected = np.where(precision < 0, np.nan, precision)
    np.testing.assert_allclose(voc_ap(detections, truth, n_classes=N_CLASSES), expected, atol=1e-9)


APART = [[k, 0, k + 9, 9] for k in range(0, 1000, 100)]  # ten objects

BY_HAND = {  # objects, detections from the best score on, AP by eleven points and by area
    # precision 1 to recall .25, then 2/3 to recall .5
    "right, wrong, right": (APART[:4], [APART[0], [500, 50, 509, 59], APART[1]], (3 + 3 * 2 / 3) / 11, 1 / 4 + 1 / 6),
    "a second detection is wrong": (
        APART[:2],
        [APART[0], APART[0], APART[1]],
        (6 + 5 * 2 / 3) / 11,
        5 / 6,
    ),
    # four of the eleven levels, 0, .1, .2, .3, are reached; in floats 3 · 0.1 > 3 / 10
    "three tenths reach the level of three tenths": (APART, APART[:3], 4 / 11, 0.3),
    # columns 0..9 and 5..9: 5 of 10 pixels in common; without "+1" it would be 4 of 9
    "pixels count inclusively, one half suffices": (APART[:1], [[5, 0, 9, 9]], 1, 1),
    "less than one half does not": (APART[:1], [[5.01, 0, 9, 9]], 0, 0),
    # the second overlaps a free object by more than half too, but the taken one by more
    "the best object even if taken": ([[0, 0, 9, 9], [3, 0, 12, 9]], [[0, 0, 9, 9], [1, 0, 10, 9]], 6 / 11, 0.5),
    "boxes of no extent are only wrong": (APART[:1], [[5, 5, 3, 3], [5, 5, 4, 4], APART[0]], 1 / 3, 1 / 3),
}


@pytest.mark.parametrize(("objects", "boxes", "eleven", "area"), BY_HAND.values(), ids=BY_HAND)
def test_cases_worked_out_by_hand(objects, boxes, eleven, area):
    detections, truth = found(boxes, -np.arange(len(boxes))), truth_of(objects)
    for interpolation, expected in zip(INTERPOLATIONS, (eleven, area), strict=True):
        assert voc_ap(detections, truth, n_classes=1, interpolation=interpolation) == pytest.approx(expected)


def test_equal_scores_keep_the_order_given():
    for boxes, expected in ((APART[:2], 1), (APART[1::-1], 0.5)):
        assert voc_ap(found(boxes, [0.5, 0.5]), truth_of(APART[:1]), n_classes=1) == expected


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_nothing_found_is_zero_and_nothing_to_find_is_nan(interpolation):
    options = {"n_classes": 3, "interpolation": interpolation}
    truth = truth_of([[0, 0, 9, 9]] * 2, label=[0, 1], difficult=[False, True])
    np.testing.assert_array_equal(voc_ap(no_detections(), truth, **options), [0, np.nan, np.nan])
    np.testing.assert_array_equal(voc_ap(found([[0, 0, 9, 9]], [1]), truth_of([]), **options), [np.nan] * 3)
    np.testing.assert_array_equal(voc_ap(no_detections(), truth_of([]), **options), [np.nan] * 3)


UNFIT = {"label": ([1], [-1]), "score": ([1, 2], [np.nan]), "image": ([],), "difficult": ([True, False],)}
UNFIT |= {"box": ([0, 0, 9, 9], [[0, 0, 9, np.inf]])}


@pytest.mark.parametrize(("column", "given"), [(name, one) for name, each in UNFIT.items() for one in each])
def test_arrays_that_do_not_fit(column, given):
    detections, truth = found([[0, 0, 9, 9]], [1]), truth_of([[0, 0, 9, 9]])
    if column != "difficult":
        with pytest.raises(DataError, match=rf"^detections\.{column} "):
            voc_ap(detections._replace(**{column: given}), truth, n_classes=1)
    if column != "score":
        with pytest.raises(DataError, match=rf"^truth\.{column} "):
            voc_ap(detections, truth._replace(**{column: given}), n_classes=1)


@pytest.mark.parametrize(
    "option", [{"interpolation": "11point"}, {"iou": 0}, {"iou": 1.5}, {"iou": np.nan}, {"n_classes": 0}], ids=str
)
def test_options_that_cannot_be(option):
    with pytest.raises(ConfigError) as caught:
        voc_ap(no_detections(), truth_of([]), **{"n_classes": 1, **option})
    assert caught.value.key == f"voc_ap.{next(iter(option))}"
