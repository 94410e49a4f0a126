"""Names of files: what a name must mean is found, and nothing outside the folder is."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnabla_detofa.data.listing import Listing, composed, is_absolute, leads_out
from nnabla_detofa.errors import DataError

SUFFIXES = (".jpg", ".png")
FILES = ["a.jpg", "a.png", "B.JPG", "c.d.png", "plain", "e f.jpg", "below/a.jpg", "below/deep/g.jpg", ".hidden.jpg"]


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "images"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root.parent / "secret.jpg").touch()
    return Listing(root, SUFFIXES)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("a.png", "a.png"),
        ("a", "a.jpg"),
        ("a.JPG", "a.jpg"),
        ("b", "B.JPG"),
        ("b.png", "B.JPG"),
        ("c.d", "c.d.png"),
        ("plain", "plain"),
        ("e%20f.jpg", "e f.jpg"),
        ("below\\a.jpg", "below/a.jpg"),
        ("/x/below/deep/g.jpg", "below/deep/g.jpg"),
        ("s3://bucket/below/a.jpg?v=1", None),
        ("s3://bucket/below/a.jpg", "below/a.jpg"),
        ("nowhere/a.jpg", "a.jpg"),
        ("a.jpg/a.jpg", "a.jpg"),
        ("../secret.jpg", None),
        ("below/../a.jpg", None),
        ("..\\secret.jpg", None),
        ("%2e%2e/secret.jpg", None),
        ("secret", None),
        (".hidden", None),
        ("", None),
        (".", None),
        ("\0", None),
        ("a" * 5000, None),
    ],
)
def test_what_a_name_means(listing, name, found):
    assert listing.find(name) == found


def test_of_two_names_in_other_cases_none_is_guessed(tmp_path):
    for name in ("X.jpg", "x.JPG"):
        (tmp_path / name).touch()
    listing = Listing(tmp_path, SUFFIXES)
    assert [listing.find(name) for name in ("X.jpg", "x.jpg", "X", "x")] == ["X.jpg", "x.JPG", "X.jpg", "x.JPG"]
    (tmp_path / "Ab.jpg").touch()
    (tmp_path / "aB.jpg").touch()
    assert Listing(tmp_path, SUFFIXES).find("ab.jpg") is None


@pytest.mark.parametrize("there", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_both_forms_of_a_name_are_one_in_folders_too(tmp_path, there, asked):
    there, asked = (unicodedata.normalize(form, "caf\u00e9/\u00e9.jpg") for form in (there, asked))
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).touch()
    assert Listing(tmp_path, SUFFIXES).find(asked) == there


def test_every_folder_is_listed_once(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "listdir", lambda folder: asked.append(folder) or ["x.jpg"])
    fresh = Listing(Path("somewhere"), SUFFIXES)
    assert [fresh.find(name) for name in ("x", "x.jpg", "y/x.jpg", "z")] == ["x.jpg", "x.jpg", "x.jpg", None]
    assert asked == [Path("somewhere")]


@given(st.text(alphabet="ab./\\:%2eBé\0 ", max_size=12))
def test_whatever_is_found_is_in_the_folder(listing, name):
    found = listing.find(name)
    assert found is None or os.path.realpath(listing.folder / found).startswith(os.path.realpath(listing.folder))
    if leads_out(name) and not is_absolute(name):
        assert found is None


@pytest.mark.parametrize(
    "name", ["/x", "\\x", "C:\\x", "C:x", "file:///x", "../x", "x/../../y", "..\\x", "..", "https://x"]
)
def test_names_that_lead_out(name):
    assert leads_out(name)


@pytest.mark.parametrize("name", ["x", "x/y", "a..b/c", "12:30.jpg", "...", "x\\y"])
def test_names_that_stay(name):
    assert not leads_out(name)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot list the xml folder .*none: No such file"):
        Listing(tmp_path / "none", SUFFIXES, "xml")


def test_composed_text():
    assert composed("e\u0301") == "\u00e9"
