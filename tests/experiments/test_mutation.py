"""The mutation script: it changes what decides, and leaves alone what only speaks or declares."""

from pathlib import Path

from experiments.reliability import mutation

SOURCE = '''
LIMIT = 3

def least(a: int, b: int = 1) -> int:
    """The least of 2."""
    if not a:
        raise ValueError(f"{a} must be over {0}")
    print(a + 1)
    return min(a, b) - 1 if a < b else a
'''


def test_lines_that_decide_are_changed_and_no_others(tmp_path):
    (tmp_path / "least.py").write_text(SOURCE)
    found = list(mutation.mutants(tmp_path / "least.py", tmp_path))
    assert {one.line for one in found} == {6, 9}
    changed = {one.after.removeprefix("return ") for one in found if one.line == 9}
    assert "min(a, b) - 1 if (a <= b) else a" in changed and "(max(a, b)) - 1 if a < b else a" in changed
    first, second = mutation.chosen(found, 3, 0)
    assert {first.line, second.line} == {6, 9}  # each line once


def test_every_room_has_tests_of_its_own():
    package, tests = mutation.REPOSITORY / mutation.PACKAGE, Path(__file__).parents[1]
    rooms = mutation.rooms_of(package)
    assert len(rooms) > 15
    assert [room.stem for room in rooms if not mutation.tests_of(room.stem, room.name, tests)] == []


def test_what_is_named_is_there():
    package, tests = mutation.REPOSITORY / mutation.PACKAGE, Path(__file__).parents[1]
    rooms = {room.stem for room in mutation.rooms_of(package)}
    assert {*mutation.TESTS} <= rooms
    patterns = [one for own in mutation.TESTS.values() for one in own]
    assert [one for one in patterns if not any(tests.glob(one))] == []
    assert {file.name for file in tests.rglob("test_*.py")} >= mutation.NOT_HERE
    lines = {line.strip() for file in package.rglob("*.py") for line in file.read_text().splitlines()}
    assert {*mutation.EQUIVALENT} <= lines
