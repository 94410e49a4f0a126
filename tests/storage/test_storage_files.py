"""Files appear whole or not at all."""

import errno

import pytest

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.storage import files


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    file = tmp_path / "a.json"
    files.write_json(file, {"ap": 0.5})
    for write, wrong, error in (
        (files.write_json, {"ap": float("nan")}, ValueError),
        (files.write_json, {"ap": object()}, TypeError),
        (files.write_text, 3, TypeError),
    ):
        with pytest.raises(error):
            write(file, wrong)
    assert files.read_json(file) == {"ap": 0.5}
    assert file.read_text() == '{\n  "ap": 0.5\n}\n'
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_gets_back_what_was_written_beside(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    files.write_json(file, 1)

    def full(place, content):
        place.write_bytes(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(RunFolderError, match="No space left"):
        files.write_json(file, 2)
    assert [*tmp_path.iterdir()] == [file] and files.read_json(file) == 1


@pytest.mark.parametrize("content", [b"[1, 2", b"\xff", b"[" * 100_000, None])
def test_a_damaged_or_missing_json_file_is_said(tmp_path, content):
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunFolderError, match="a.json cannot be read"):
        files.read_json(file)


def test_a_json_file_that_memory_should_not_hold_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_JSON", 3)
    (tmp_path / "a.json").write_text("1234")
    with pytest.raises(RunFolderError, match="too large"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("123")
    assert files.read_json(tmp_path / "a.json") == 123


def test_a_folder_knows_whether_it_is_whole(tmp_path):
    folder = tmp_path / "kept"
    files.write_folder(folder, {"a": b"1", "b": b"2"})
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != files.SUMS} == {
        "a": b"1",
        "b": b"2",
    }
    assert files.damage(folder, ("a", "b")) is None
    assert "lacks c" in files.damage(folder, ("a", "c"))
    (folder / "b").write_bytes(b"3")
    assert files.damage(folder, ("a",)) is None
    assert "of b differs" in files.damage(folder, ("a", "b"))
    (folder / "a").unlink()
    assert files.damage(folder, ("a",)).startswith("a: ")
    (folder / files.SUMS).write_text("[]")
    assert "lacks a" in files.damage(folder, ("a",))
    (folder / files.SUMS).unlink()
    assert files.SUMS in files.damage(folder, ("a",))


@pytest.mark.parametrize(
    "write", [lambda place: files.write_text(place, "a"), lambda place: files.write_folder(place, {})]
)
def test_a_disk_that_refuses_is_said(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="file/new cannot be written"):
        write(tmp_path / "file" / "new")
