"""Saving and loading a path filter, and files that are none."""

import json

import h5py
import numpy as np
import pytest

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.path_filter import PathFilter, TokenLayout

LAYOUT = TokenLayout(vocabulary=4, layer=[0, 1, 2], block=[0, 1, 1])


@pytest.fixture
def saved(tmp_path):
    path_filter = PathFilter(
        LAYOUT, 3, rng=np.random.default_rng(0), dim=8, heads=2, layers=2, hidden=4, block_encoding=False
    )
    path_filter.save(tmp_path / "new" / "filter.h5")
    return path_filter, tmp_path / "new" / "filter.h5"


def edited_header(file, **changes):
    with h5py.File(file, "r+") as source:
        source.attrs["header"] = json.dumps(json.loads(source.attrs["header"]) | changes)


def test_load_gives_back_what_was_saved(saved):
    path_filter, file = saved
    loaded = PathFilter.load(str(file), layout=LAYOUT)
    assert (loaded.layout, loaded.design) == (path_filter.layout, path_filter.design)
    tokens, buckets = np.random.default_rng(1).integers(0, 4, (20, 3)), np.arange(20) % 3
    assert np.array_equal(loaded.score(tokens, buckets), path_filter.score(tokens, buckets))
    assert [entry.name for entry in file.parent.iterdir()] == ["filter.h5"]


def test_another_layout_is_refused(saved):
    with pytest.raises(WeightsError, match="3 tokens of vocabulary 4, where 2 of vocabulary 5 are wanted"):
        PathFilter.load(saved[1], layout=TokenLayout(5, (0, 1), (0, 1)))


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(WeightsError, match="there is no path filter at"):
        PathFilter.load(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(WeightsError, match="is damaged or no path filter"):
        PathFilter.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["conv/W"] = np.zeros(3)
    with pytest.raises(WeightsError, match="is damaged or no path filter"):
        PathFilter.load(tmp_path / "other.h5")


def test_a_file_that_was_cut_off(saved):
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="is damaged or no path filter"):
        PathFilter.load(saved[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "weights"}, "is no path filter: its header lacks 'nnabla_detofa path filter'"),
        ({"version": 9}, "has version 9; this release reads version 1"),
        ({"layout": {"vocabulary": 4}}, "the header describes no path filter"),
        ({"design": {"dim": 8, "tail": 3}}, "the header describes no path filter"),
        ({"layout": {"vocabulary": 0, "layer": [0], "block": [0]}}, "the header describes no path filter"),
        (
            {"layout": {"vocabulary": 5, "layer": [0, 1, 2], "block": [0, 1, 1]}},
            r"'token' is \(4, 8\) float32",
        ),
    ],
)
def test_headers_that_do_not_fit(saved, changes, message):
    edited_header(saved[1], **changes)
    with pytest.raises(WeightsError, match=message):
        PathFilter.load(saved[1])


@pytest.mark.parametrize(
    "change", [{"dim": 2**40}, {"dim": 4096}, {"layers": 90}, {"hidden": 10**4}, {"n_buckets": 900}]
)
def test_no_network_of_sizes_that_the_file_does_not_have_is_made(saved, change, monkeypatch):
    with h5py.File(saved[1], "r") as source:
        design = json.loads(source.attrs["header"])["design"]
    edited_header(saved[1], design=design | change)
    monkeypatch.setattr(PathFilter, "__init__", lambda *_, **__: pytest.fail("a network was made"))
    with pytest.raises(WeightsError, match="describes no path filter|it must be|its header says"):
        PathFilter.load(saved[1])


@pytest.mark.parametrize(
    "made",
    [
        {"shape": (10**12,), "dtype": "f4"},
        {"data": np.zeros(10**5, np.float32), "compression": "gzip"},
        {"shape": (9,), "dtype": "f4", "external": [("elsewhere", 0, 36)]},
    ],
    ids=["never written", "compressed", "in another file"],
)
def test_arrays_that_are_not_plain_are_not_read(saved, made):
    with h5py.File(saved[1], "r+") as source:
        source.create_dataset("weights/bomb", **made)
    said = "bomb is compressed, in chunks, in another file or was never written"
    with pytest.raises(WeightsError, match=said):
        PathFilter.load(saved[1])


def test_arrays_that_hold_no_numbers_are_not_read(saved):
    with h5py.File(saved[1], "r+") as source:
        source["weights/text"] = "x" * 100
    with pytest.raises(WeightsError, match="text holds object, not numbers"):
        PathFilter.load(saved[1])


def test_parameters_that_do_not_fit(saved):
    _, file = saved
    with h5py.File(file, "r+") as source:
        source["weights/token"][0, 0] = np.nan
    with pytest.raises(WeightsError, match="parameter 'token' holds values that are not finite"):
        PathFilter.load(file)
    with h5py.File(file, "r+") as source:
        del source["weights/token"]
    with pytest.raises(WeightsError, match="parameter 'token' is missing"):
        PathFilter.load(file)
    with h5py.File(file, "r+") as source:
        source["weights/token"] = np.zeros((4, 8), np.float32)
        source["weights/extra"] = np.zeros(2, np.float32)
    with pytest.raises(WeightsError, match="parameter 'extra' is unknown"):
        PathFilter.load(file)
