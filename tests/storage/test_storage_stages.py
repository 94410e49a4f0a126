"""A run's folder: what is done is not done again, what is changed is set aside, what is interrupted goes on."""

import json
import time
from pathlib import Path

import pytest

import nnabla_detofa.storage.stages as stages_module
from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.storage import Kept, Rehearsal, Stages, Work, restamp


class Session:
    """One process on a folder: its stages write one file each; remembers which ran and what was said."""

    def __init__(self, path, **options):
        self.said, self.ran = [], []
        self.folder = Stages(path, say=self.said.append, **options)

    def stage(self, name, value=None, *, after=None):
        """A stage whose value is its one input."""
        kept = self.folder.json(f"{name}.json")
        return self.folder.run(name, {"value": value}, kept, lambda: self.ran.append(name) or value, after=after)

    def work(self, name, work, *files, value=None):
        """A stage whose work leaves its files itself."""
        return self.folder.run(name, {"value": value}, Kept(files or [f"{name}.json"], lambda: "read"), work)

    def chain(self, **values):
        """Stages in the given order; returns those that ran."""
        for name, value in values.items():
            assert self.stage(name, value) == value
        return self.ran


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def record(path):
    return json.loads((path / "stages.json").read_text())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log" / "trial"


@pytest.fixture
def session(path):
    return lambda **options: Session(path, **options)


def interrupted(session, name, file=None, **options):
    """A stage that was interrupted when half of its file was there."""

    def work():
        if file is not None:
            file.write_text("half")
        time.sleep(0.02)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.work(name, work, **options)


def test_a_stage_that_is_done_is_not_run_again(session, path):
    assert session().chain(first={"at": (1, 2), "a": 1}, second=2) == ["first", "second"]
    before = contents(path)
    again = session()
    assert again.chain(first={"a": 1, "at": [1, 2]}, second=2) == []  # as JSON holds them
    assert contents(path) == before
    assert [line.split(":")[0] for line in again.said if "kept" in line] == ["first", "second"]
    assert set(again.folder.seconds) == {"first", "second"}


def test_an_interrupted_stage_goes_on_with_what_it_left_and_adds_its_seconds(session, path):
    file, first, second, met = path / "first.json", session(), session(), []
    interrupted(first, "first", file)
    assert first.folder.seconds == {}
    seconds = record(path)["first"]["seconds"]
    assert seconds >= 0.02
    second = session()
    assert second.work("first", lambda: met.append(file.read_text()) or "made") == "made"
    assert met == ["half"]
    assert second.folder.seconds["first"] >= seconds
    third = session()
    assert third.work("first", None) == "read"
    assert third.folder.seconds == second.folder.seconds


def test_a_kill_loses_few_of_the_seconds(session, path):
    one = session()

    def work():
        (path / "first.json").write_text("1")
        time.sleep(0.02)
        one.folder.count_seconds()
        assert record(path)["first"]["seconds"] == 0  # not at every call
        one.folder.count_seconds(every=0.01)
        assert record(path)["first"]["seconds"] >= 0.02

    one.work("first", work)
    one.folder.count_seconds(every=0)  # between two stages there is nothing to count
    assert 0.02 <= one.folder.seconds["first"] < 2


def test_a_changed_stage_sets_aside_its_files_and_all_later_ones(session, path):
    session().chain(first=1, second=2, third=3)
    unfinished = [".second.json.before", ".second.json.writing", "third.json.part"]  # of an interrupted writer
    for name in unfinished:
        (path / name).touch()
    changed = session()
    assert changed.chain(first=1, second=5, third=3) == ["second", "third"]
    aside = path / "previous" / "1"
    assert sorted(contents(aside)) == sorted(["second.json", "stages.json", "third.json", *unfinished])
    assert (aside / "second.json").read_text() == "2\n"
    assert sorted(record(aside)) == ["second", "third"]
    assert (path / "first.json").read_text() == "1\n"
    assert any(str(aside) in line for line in changed.said)


def test_a_stages_folder_does_not_take_the_file_of_a_stage_of_like_name_along(session, path):
    def run(value):
        one = session()
        one.stage("second", 1)  # leaves second.json
        one.work("third", lambda: (path / "second").mkdir(exist_ok=True), "second", value=value)

    run(1)
    run(2)
    assert (path / "second.json").read_text() == "1\n"
    assert sorted(one.name for one in (path / "previous" / "1").iterdir()) == ["second", "stages.json"]


def test_each_change_gets_a_folder_of_its_own(session, path):
    for value in (1, 2, 3):
        session().chain(first=0, second=value)
    for file in ("second.json", "stages.json", ""):
        place = path / "previous" / "1" / file
        place.unlink() if file else place.rmdir()
    session().chain(first=0, second=4)
    found = {one.name: (one / "second.json").read_text() for one in (path / "previous").iterdir()}
    assert found == {"2": "2\n", "3": "3\n"}


def test_a_stage_may_come_between_or_be_left_out(session, path):
    session().chain(first=1, third=3)
    assert session().chain(first=1, second=2, third=3) == ["second", "third"]
    assert session().chain(first=1, second=2, third=3) == []
    assert sorted(contents(path / "previous" / "1")) == ["stages.json", "third.json"]
    shorter = session()
    assert shorter.chain(first=1, third=3) == ["third"]
    assert set(shorter.folder.seconds) == {"first", "third"}
    assert (path / "previous" / "2" / "second.json").is_file()


@pytest.mark.parametrize(
    ("changed", "ran"),
    [
        ({}, []),
        ({"root": 2}, None),
        ({"side": 2}, ["side", "leaf", "joint"]),
        ({"leaf": 2}, ["leaf", "joint"]),
        ({"lone": 2}, ["lone", "joint"]),
        ({"joint": 2}, ["joint"]),
        ({"third": 2}, ["third"]),
        ({"second": 2}, ["second", "side", "leaf", "lone", "joint", "third", "late"]),
        ({"side": None}, ["leaf", "joint"]),
    ],
)
def test_a_change_redoes_what_comes_after_it_and_nothing_else(session, path, changed, ran):
    def run(second=1, root=1, side=1, leaf=1, lone=1, joint=1, third=1):
        one = session()
        one.stage("root", root, after=[])
        one.chain(first=1, second=second)
        if side is not None:
            one.stage("side", side, after=["second"])
        one.stage("leaf", leaf, after=["second" if side is None else "side"])
        one.stage("lone", lone, after=["second"])
        one.stage("joint", joint, after=["leaf", "lone"])
        one.stage("third", third)
        one.stage("late", 1, after=["second"])
        return one

    run()
    if ran is None:
        with pytest.raises(RunFolderError, match="belongs to another configuration"):
            run(**changed)
        return
    assert run(**changed).ran == ran
    assert len(list(path.glob("previous/*"))) == bool(ran)  # all at once
    again = run(**changed)
    assert again.ran == []
    assert len(again.folder.seconds) == 9 - (changed == {"side": None})  # of the stages of this session


@pytest.mark.parametrize(
    ("ratio", "third", "difference"),
    [(0.25, 4, "value was 3 and is 4"), (0.4, 3, "value.ratio was 0.25 and is 0.4")],
)
def test_an_interrupted_stage_does_not_go_on_with_other_settings(session, path, ratio, third, difference):
    def chain():
        return session().chain(first=1, second={"ratio": ratio, "paths": 100}, third=third)

    one = session()
    one.chain(first=1, second={"ratio": 0.25, "paths": 100})
    interrupted(one, "third", path / "third.json", value=3)
    before = contents(path)
    with pytest.raises(RunFolderError, match=f"third was interrupted.* {difference};.* name=NEW_NAME.*third.json"):
        chain()
    assert contents(path) == before
    (path / "third.json").unlink()  # now it has nothing to lose
    assert chain() == (["third"] if ratio == 0.25 else ["second", "third"])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 1, "net": {"small": {"head": 16, "neck": [8]}}}, "net.small.head was 8 and is 16; value.seed was 0"),
        ({"seed": 1, "net": 3, "a": 1, "b": 2}, "a was None and is 1; .*; value.net was .* and is 3 and 1 more"),
    ],
)
def test_a_changed_first_stage_is_another_configuration(session, path, other, said):
    session().stage("first", {"seed": 0, "net": {"small": {"head": 8, "neck": [8]}}})
    before = contents(path)
    with pytest.raises(RunFolderError, match=f"another configuration: value.{said}.*; .* name=NEW_NAME"):
        session().stage("first", other)
    assert contents(path) == before


@pytest.mark.parametrize("damage", [b"", b"3", b"[", None])
def test_a_file_that_was_changed_or_lost_is_set_aside_and_its_stage_done_again(session, path, damage):
    session().chain(first=1, second=2, third=3)
    file = path / "second.json"
    whole = file.read_bytes()
    file.unlink() if damage is None else file.write_bytes(damage)
    again = session()
    assert again.chain(first=1, second=2, third=3) == ["second"]
    assert file.read_bytes() == whole
    if damage is not None:
        assert (path / "previous/1/second.json").read_bytes() == damage
        assert f"second: second.json: changed since, moved to {path}/previous/1" in again.said[1]


def test_files_that_no_record_tells_of_are_not_gone_on_with(session, path):
    """A record that was deleted leaves results that may be of any settings."""
    session().chain(first=1, second=2)
    (path / "stages.json").unlink()
    again = session()
    assert (
        again.folder.run("first", {"value": 1}, again.folder.json("first.json"), (path / "first.json").exists) is False
    )
    assert again.said[0].startswith("first: first.json: of no recorded stage, moved to ")
    assert (path / "previous/1/first.json").read_text() == "1\n"


def test_folders_are_checkpoints_and_know_themselves(session, path):
    session().work("first", (path / "checkpoint").mkdir, "checkpoint")
    (path / "checkpoint" / "more").touch()  # is no change
    assert session().work("first", None, "checkpoint") == "read"
    (path / "stages.json").unlink()
    assert session().work("first", lambda: "made", "checkpoint") == "made"
    assert (path / "checkpoint" / "more").exists()


def test_a_process_that_does_not_write_leaves_the_folder_as_it_is_and_takes_what_is_there(session, path):
    session().chain(first=1, second=2)
    (path / "first.json").write_text("3")
    before = contents(path)
    other = session(writes=False)
    assert [other.stage("first", 1), other.stage("second", 5)] == [3, 2]  # not what it worked out itself
    assert other.ran == ["first", "second"]
    assert contents(path) == before
    assert set(other.folder.seconds) == {"first", "second"}


def test_all_processes_wait_before_a_stage_changes_anything_and_after_it(session, path):
    """And as often where a setting changes or a file did: the one that writes moves files that another looks at."""
    events = []
    for value, writes in ((2, True), (3, False), (3, True), (4, False), (4, True)):
        if (value, writes) == (4, False):
            session().chain(first=1, second=4)
            (path / "second.json").write_text("5")
        one = session(writes=writes, barrier=lambda: events.append("wait"))
        one.chain(first=1)
        events.clear()
        kept = one.folder.json("second.json")
        one.folder.run("second", {"value": value}, kept, lambda: events.append("work"))
        assert events == ["wait"] * (value == 4) + ["wait", "work", "wait"]


def test_a_process_waits_for_what_a_shared_disk_does_not_show_it_yet(session, monkeypatch):
    """As NFS does, for a while, to a machine that has looked for a file before it was there."""
    session().chain(first=1)
    seen_from, exists = time.monotonic() + 0.3, Path.exists
    monkeypatch.setattr(
        Path, "exists", lambda file: exists(file) and (file.name != "first.json" or time.monotonic() > seen_from)
    )
    other = session(writes=False, of_first=lambda _: True)
    assert other.stage("first", 1) == 1 and other.ran == []
    assert time.monotonic() > seen_from
    monkeypatch.setattr(Path, "exists", lambda file: exists(file) and file.name != "first.json")
    monkeypatch.setattr(stages_module, "SEEN_SECONDS", 0.2)
    with pytest.raises(RunFolderError, match="first.json is there for the first process and not for this one"):
        session(writes=False, of_first=lambda _: True).stage("first", 1)


@pytest.mark.parametrize("whole", [True, False])
def test_the_first_process_decides_whether_a_stage_is_done_again(session, path, whole):
    """However another one sees the folder."""
    session().chain(first=1)
    if whole:
        (path / "first.json").write_text("3")
    other = session(writes=False, of_first=lambda _: whole)
    assert other.stage("first", 1) == (3 if whole else 1)
    assert other.ran == ([] if whole else ["first"])


def test_a_rehearsal_does_nothing():
    rehearsal, work = Rehearsal(), Work("hard", steps=3, batch=2)
    kept = Kept(["a"], None)
    assert rehearsal.run("first", {}, kept, None, rehearsed=lambda: 1, takes=work) == 1
    assert rehearsal.run("second", {}, kept, None, rehearsed=lambda: 2, after=["first"]) == 2
    assert rehearsal.planned == {"first": work}


ENTRY = {"digest": "d", "inputs": {}, "files": ["a.csv"], "after": [], "sums": {}, "seconds": 1.0, "done": True}
NO_FILES = ("../outside", "/etc/passwd", "..", "", "*", "a/b", 3)


@pytest.mark.parametrize(
    "stages",
    [
        None,
        [],
        {"a": None},
        *({"a": {**ENTRY, "files": [name]}} for name in NO_FILES),
        *({"a": {**ENTRY, "sums": {name: "0"}}} for name in NO_FILES[:-1]),
        *({"a": {**ENTRY, key: None}} for key in ENTRY),
        *({"a": {**ENTRY, "seconds": seconds}} for seconds in (float("inf"), float("nan"), -1)),
        {"a": {**ENTRY, "settings": {}}},
        '{"first": {',
    ],
)
def test_a_record_that_is_none_is_said(tmp_path, stages):
    file = tmp_path / "stages.json"
    file.write_text(json.dumps({"a": ENTRY}))
    Stages(tmp_path, say=print)
    file.write_text(stages if isinstance(stages, str) else json.dumps(stages))
    with pytest.raises(RunFolderError, match="stages.json .*; delete it to run all stages again"):
        Stages(tmp_path, say=print)


def test_a_file_that_is_written_anew_on_purpose_is_as_its_stage_left_it(session, path):
    session().chain(a=1, b=2)
    (path / "a.json").write_text("[1]")
    restamp(path, "a.json")
    restamp(path, "of no stage")
    again = session()
    assert (again.stage("a", 1), again.ran) == ([1], [])
    assert again.stage("b", 2) == 2 and again.ran == []
    (path / "b.json").write_text("[2]")
    third = session()
    assert third.stage("a", 1) == [1] and third.stage("b", 2) == 2 and third.ran == ["b"]


def test_what_is_no_record_cannot_be_restamped(path):
    path.mkdir(parents=True)
    (path / "stages.json").write_text("[]")
    with pytest.raises(RunFolderError):
        restamp(path, "a.json")
