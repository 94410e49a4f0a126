"""In one scope a split is read once; outside, and for other options, as often as somebody asks, but for COCO's."""

import os
from collections import Counter

import pytest

from nnabla_detofa.data import read_coco
from nnabla_detofa.data import voc as module
from nnabla_detofa.data.coco_masks import read_coco_masks
from nnabla_detofa.data.sharing import read_split, splits_shared
from nnabla_detofa.errors import DataError

PARTS = [(True, True), (True, False), (False, False)]  # as a run builds its loaders


@pytest.fixture
def reads(monkeypatch):
    """How often each annotation was read."""
    counts, read = Counter(), module.read_annotation
    monkeypatch.setattr(
        module, "read_annotation", lambda file, findings: (counts.update([file]), read(file, findings))[1]
    )
    return counts


def loaders(voc, **options):
    options = {"root": voc.root, "image_size": 64, "workers": 0, "examine": True, **options}
    return [module.DataLoader(*part, 2, **options) for part in PARTS]


def test_loaders_and_examination_read_each_annotation_once(filled_voc, reads):
    with splits_shared():
        train, valid, test = loaders(filled_voc)
        record = train.examined(None)
    assert len(reads) == 25 and set(reads.values()) == {1}
    alone = loaders(filled_voc)
    assert max(reads.values()) == 4
    assert [one.split_digest for one in alone] == [one.split_digest for one in (train, valid, test)]
    assert [len(one) for one in (train, valid, test)] == [18, 2, 5]
    assert alone[0].examined(None) == record


def test_other_options_and_other_scopes_read_again(filled_voc):
    with splits_shared():
        one = loaders(filled_voc)[0]
        other = loaders(filled_voc, classes=["dog"])[0]
    assert (one.classes, other.classes) == (("cat", "dog"), ("dog",))
    filled_voc.annotation("a01").write_text(filled_voc.xml([("cat", (1, 2, 30, 40))]))
    with splits_shared():
        assert loaders(filled_voc)[0].split_digest != one.split_digest


def test_what_is_read_leniently_is_not_for_the_strict(filled_voc):
    filled_voc.annotation("a01").write_text("<annotation>")
    options = module.VocOptions.of("voc", {"root": filled_voc.root, "image_size": 64})
    with splits_shared():
        assert read_split(options, "train", None, strict=False).findings
        for _ in range(2):
            with pytest.raises(DataError, match="a01"):
                read_split(options, "train", None)


@pytest.mark.parametrize("read", [read_coco, read_coco_masks])
def test_a_file_of_coco_is_read_again_where_it_or_what_is_asked_for_is_another(coco, read):
    def found(**options):
        return read(str(coco.root / "train2017"), coco.file(), strict=False, **options)

    first = found(classes=["cat"])
    assert found(classes=("cat",)) is first
    assert found().classes != first.classes
    os.utime(coco.file(), ns=(1, 1))
    assert found(classes=["cat"]) is not first
