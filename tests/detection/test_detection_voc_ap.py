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


def truth_of(boxes, difficult=None, image=None, label=None):
    n = len(boxes)
    zeros = np.zeros(n, int)
    return GroundTruth(
        zeros if image is None else np.array(image),
        zeros if label is None else np.array(label),
        np.array(boxes),
        zeros.astype(bool) if difficult is None else np.array(difficult),
    )


def found(boxes, scores, image=None):
    zeros = np.zeros(len(boxes), int)
    return Detections(zeros if image is None else np.array(image), zeros, np.array(boxes), np.array(scores))


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


@pytest.mark.parametrize(("interpolation", "expected"), [("11-point", (3 + 3 * 2 / 3) / 11), ("area", 1 / 4 + 1 / 6)])
def test_a_curve_worked_out_by_hand(interpolation, expected):
    """Four objects; right, wrong, right: precision 1 to recall .25, then 2/3 to recall .5."""
    boxes = [[k, 0, k + 9, 9] for k in (0, 100, 200, 300)]
    detections = found([boxes[0], [500, 0, 509, 9], boxes[1]], [0.9, 0.8, 0.7])
    result = voc_ap(detections, truth_of(boxes), n_classes=1, interpolation=interpolation)
    np.testing.assert_allclose(result, [expected])


def test_a_recall_of_three_tenths_reaches_the_level_of_three_tenths():
    """In floats 3 · 0.1 > 3 / 10; four of the eleven levels (0, .1, .2, .3) are reached all the same."""
    boxes = [[k, 0, k + 9, 9] for k in range(0, 1000, 100)]
    np.testing.assert_allclose(voc_ap(found(boxes[:3], [3, 2, 1]), truth_of(boxes), n_classes=1), [4 / 11])


def test_pixels_are_counted_inclusively_and_one_half_suffices():
    """Columns 0..9 and 5..9: 5 of 10 pixels in common. Without "+1" it would be 4 of 9."""
    truth = truth_of([[0, 0, 9, 9]])
    assert voc_ap(found([[5, 0, 9, 9]], [1]), truth, n_classes=1) == 1
    assert voc_ap(found([[5.01, 0, 9, 9]], [1]), truth, n_classes=1) == 0


def test_a_second_detection_of_an_object_is_wrong():
    boxes = [[0, 0, 9, 9], [100, 0, 109, 9]]
    detections = found([boxes[0], boxes[0], boxes[1]], [0.9, 0.8, 0.7])
    np.testing.assert_allclose(voc_ap(detections, truth_of(boxes), n_classes=1, interpolation="area"), [0.5 + 1 / 3])


def test_a_detection_belongs_to_its_best_object_even_if_that_one_is_taken():
    """The second detection overlaps a free object by more than half too, but the taken one by more."""
    truth = truth_of([[0, 0, 9, 9], [3, 0, 12, 9]])
    detections = found([[0, 0, 9, 9], [1, 0, 10, 9]], [0.9, 0.8])
    np.testing.assert_allclose(voc_ap(detections, truth, n_classes=1, interpolation="area"), [0.5])


@given(seeds, st.sampled_from(INTERPOLATIONS))
@settings(deadline=None, max_examples=30)
def test_detections_of_difficult_objects_change_nothing(seed, interpolation):
    detections, truth = random_case(seed)
    truth = truth._replace(box=np.concatenate([truth.box, [[50, 50, 59, 59]]]), difficult=[*truth.difficult, True])
    truth = truth._replace(image=[*truth.image, 0], label=[*truth.label, 1])
    more = Detections([*detections.image, 0, 0], [*detections.label, 1, 1], None, [*detections.score, 2, 3])
    more = more._replace(box=np.concatenate([detections.box, [[50, 50, 59, 59]] * 2]))
    options = {"n_classes": N_CLASSES, "interpolation": interpolation}
    np.testing.assert_array_equal(voc_ap(more, truth, **options), voc_ap(detections, truth, **options))


@given(seeds, st.sampled_from(INTERPOLATIONS))
@settings(deadline=None, max_examples=30)
def test_perfect_detections_score_one(seed, interpolation):
    _, truth = random_case(seed)
    _, keep = np.unique(np.column_stack([truth.image, truth.label, truth.box]), axis=0, return_index=True)
    truth = GroundTruth(*(column[keep] for column in truth))
    detections = Detections(*truth[:3], np.random.default_rng(seed).random(len(keep)))
    easy = np.bincount(truth.label[~truth.difficult], minlength=N_CLASSES) > 0
    ap = voc_ap(detections, truth, n_classes=N_CLASSES, interpolation=interpolation)
    np.testing.assert_allclose(ap, np.where(easy, 1, np.nan))


@given(seeds, st.floats(-1, 2), st.sampled_from(INTERPOLATIONS))
@settings(deadline=None, max_examples=50)
def test_one_more_false_positive_never_raises_the_ap(seed, score, interpolation):
    detections, truth = random_case(seed)
    extra = Detections([9], [seed % N_CLASSES], [[0, 0, 5, 5]], [score])
    more = Detections(*map(np.concatenate, zip(detections, extra, strict=True)))
    options = {"n_classes": N_CLASSES, "interpolation": interpolation}
    before, after = voc_ap(detections, truth, **options), voc_ap(more, truth, **options)
    assert (np.isnan(before) | (after <= before + 1e-12)).all()
    if score < 0:
        np.testing.assert_array_equal(before, after)  # behind the last right one it does not count at all


@given(seeds, st.sampled_from(INTERPOLATIONS))
@settings(deadline=None, max_examples=30)
def test_only_the_order_of_scores_matters(seed, interpolation):
    detections, truth = random_case(seed)
    rng = np.random.default_rng(seed)
    detections = detections._replace(score=rng.permutation(len(detections.score)) / 100)
    order = rng.permutation(len(detections.score))
    shuffled = Detections(*(column[order] for column in detections))
    shuffled = shuffled._replace(score=np.exp(3 * shuffled.score), image=shuffled.image * 1_000_003)
    renamed = truth._replace(image=truth.image * 1_000_003)
    options = {"n_classes": N_CLASSES, "interpolation": interpolation}
    np.testing.assert_array_equal(voc_ap(shuffled, renamed, **options), voc_ap(detections, truth, **options))


def test_equal_scores_keep_the_order_given():
    boxes, truth = [[0, 0, 9, 9], [50, 0, 59, 9]], truth_of([[0, 0, 9, 9]])
    assert voc_ap(found(boxes, [0.5, 0.5]), truth, n_classes=1) == 1
    assert voc_ap(found(boxes[::-1], [0.5, 0.5]), truth, n_classes=1) == 0.5


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_nothing_found_is_zero_and_nothing_to_find_is_nan(interpolation):
    options = {"n_classes": 3, "interpolation": interpolation}
    truth = truth_of([[0, 0, 9, 9]] * 2, label=[0, 1], difficult=[False, True])
    np.testing.assert_array_equal(voc_ap(no_detections(), truth, **options), [0, np.nan, np.nan])
    np.testing.assert_array_equal(voc_ap(found([[0, 0, 9, 9]], [1]), truth_of([]), **options), [np.nan] * 3)
    np.testing.assert_array_equal(voc_ap(no_detections(), truth_of([]), **options), [np.nan] * 3)


def test_boxes_of_no_extent_are_only_wrong():
    detections = found([[5, 5, 3, 3], [5, 5, 4, 4], [0, 0, 9, 9]], [0.9, 0.8, 0.7])
    np.testing.assert_allclose(voc_ap(detections, truth_of([[0, 0, 9, 9]]), n_classes=1), [1 / 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [1]}, r"^detections\.label holds 1; with 1 classes it must be 0 to 0$"),
        ({"score": [1, 2]}, r"^detections\.score has shape \(2,\), but there are 1 boxes; it must be \(1,\)$"),
        ({"image": []}, r"^detections\.image has shape \(0,\), but there are 1 boxes; it must be \(1,\)$"),
        ({"score": [np.nan]}, r"^detections\.score row 0 is not finite; scores must be numbers$"),
        ({"box": [0, 0, 9, 9]}, r"^detections\.box have shape \(4,\); they must be \(n, 4\): x1 y1 x2 y2$"),
        ({"box": [[0, 0, 9, np.inf]]}, r"^detections\.box row 0 is .*inf\]; all four must be finite$"),
    ],
)
def test_detections_that_do_not_fit_are_said(change, message):
    detections = found([[0, 0, 9, 9]], [1])._replace(**change)
    with pytest.raises(DataError, match=message):
        voc_ap(detections, truth_of([[0, 0, 9, 9]]), n_classes=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [-1]}, r"^truth\.label holds -1; with 1 classes it must be 0 to 0$"),
        (
            {"difficult": [True, False]},
            r"^truth\.difficult has shape \(2,\), but there are 1 boxes; it must be \(1,\)$",
        ),
    ],
)
def test_truth_that_does_not_fit_is_said(change, message):
    with pytest.raises(DataError, match=message):
        voc_ap(no_detections(), truth_of([[0, 0, 9, 9]])._replace(**change), n_classes=1)


def test_unknown_interpolations_are_answered_with_the_known():
    with pytest.raises(ConfigError, match=r"^unknown interpolation '11point'; known: 11-point, area \(did you mean"):
        voc_ap(no_detections(), truth_of([]), n_classes=1, interpolation="11point")


@pytest.mark.parametrize("iou", [0, 1.5, np.nan])
def test_an_impossible_overlap_is_said(iou):
    with pytest.raises(ConfigError, match=r"^iou is .*; it must be in \(0, 1\]$"):
        voc_ap(no_detections(), truth_of([]), n_classes=1, iou=iou)
