"""A run's folder: what is done is not done again, what is changed is set aside, what is interrupted goes on."""

import json
import time
from functools import partial

import pytest

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.training.run_folder import RunFolder


class Session:
    """One process on a folder: its stages write one file each; remembers which ran and what was said."""

    def __init__(self, path, **options):
        self.said, self.ran = [], []
        self.folder = RunFolder(path, say=self.said.append, **options)

    def stage(self, name, value=None, *, files=None, work=None, branch=False):
        def write():
            self.ran.append(name)
            self.folder.write(f"{name}.json", value)

        return self.folder.stage(name, {"value": value}, files or [f"{name}.json"], work or write, branch=branch)

    def chain(self, **values):
        """Stages in the given order; returns those that ran."""
        for name, value in values.items():
            self.stage(name, value)
        return self.ran


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log" / "trial"


@pytest.fixture
def session(path):
    return lambda **options: Session(path, **options)


def test_a_stage_that_is_done_is_not_run_again(session, path):
    assert session().chain(first=1, second=2) == ["first", "second"]
    before = contents(path)
    again = session()
    assert again.chain(first=1, second=2) == []
    assert contents(path) == before
    assert again.said == ["first: kept, its inputs are unchanged", "second: kept, its inputs are unchanged"]
    assert set(again.folder.seconds) == {"first", "second"}


def test_settings_are_compared_as_json_holds_them(session):
    session().stage("first", {"at": (1, 2), "a": 1})
    assert not session().stage("first", {"a": 1, "at": [1, 2]})


def test_an_interrupted_stage_runs_again_on_what_it_left_and_adds_its_seconds(session, path):
    def interrupted():
        (path / "part").write_text("half")
        time.sleep(0.02)
        raise KeyboardInterrupt

    def finish():
        (path / "part").write_text((path / "part").read_text() * 2)

    first = session()
    with pytest.raises(KeyboardInterrupt):
        first.stage("first", work=interrupted, files=["part"])
    assert first.folder.seconds == {}
    seconds = json.loads((path / "stages.json").read_text())["first"]["seconds"]
    assert seconds >= 0.02
    second = session()
    assert second.stage("first", work=finish, files=["part"])
    assert (path / "part").read_text() == "halfhalf"
    assert second.folder.seconds["first"] >= seconds


def test_a_stage_whose_file_is_missing_runs_again_alone(session, path):
    session().chain(first=1, second=2, third=3)
    (path / "second.json").unlink()
    assert session().chain(first=1, second=2, third=3) == ["second"]
    assert (path / "second.json").read_text() == "2\n"


def test_a_changed_stage_sets_aside_its_files_and_all_later_ones(session, path):
    session().chain(first=1, second=2, third=3)
    changed = session()
    assert changed.chain(first=1, second=5, third=3) == ["second", "third"]
    aside = path / "previous" / "1"
    assert sorted(file.name for file in aside.iterdir()) == ["second.json", "stages.json", "third.json"]
    assert (aside / "second.json").read_text() == "2\n"
    assert sorted(json.loads((aside / "stages.json").read_text())) == ["second", "third"]
    assert (path / "first.json").read_text() == "1\n"
    assert f"second: its settings changed; results from here on were moved to {aside}" in changed.said


def test_each_change_gets_a_folder_of_its_own(session, path):
    for value in (1, 2, 3):
        session().chain(first=0, second=value)
    (path / "previous" / "1" / "second.json").unlink()
    (path / "previous" / "1" / "stages.json").unlink()
    (path / "previous" / "1").rmdir()
    session().chain(first=0, second=4)
    assert {one.name: (one / "second.json").read_text() for one in (path / "previous").iterdir()} == {
        "2": "2\n",
        "3": "3\n",
    }


def test_a_stage_that_comes_between_is_not_set_aside_with_those_behind_it(session, path):
    session().chain(first=1, third=3)
    assert session().chain(first=1, second=2, third=3) == ["second", "third"]
    assert session().chain(first=1, second=2, third=3) == []
    assert sorted(file.name for file in (path / "previous" / "1").iterdir()) == ["stages.json", "third.json"]


def test_a_stage_that_is_left_out_is_set_aside(session, path):
    session().chain(first=1, second=2, third=3)
    shorter = session()
    assert shorter.chain(first=1, third=3) == ["third"]
    assert set(shorter.folder.seconds) == {"first", "third"}
    assert (path / "previous" / "1" / "second.json").is_file()


def interrupt(session, path, *, leaves):
    """Two stages that are done, and one that was interrupted."""

    def begin():
        if leaves:
            (path / "third.json").write_text("half")
        raise KeyboardInterrupt

    one = session()
    one.chain(first=1, second={"ratio": 0.25, "paths": 100})
    with pytest.raises(KeyboardInterrupt):
        one.stage("third", 3, work=begin)


@pytest.mark.parametrize(
    ("ratio", "third", "difference"),
    [(0.25, 4, "value was 3 and is 4"), (0.4, 3, "value.ratio was 0.25 and is 0.4")],
)
def test_an_interrupted_stage_does_not_go_on_with_other_settings(session, path, ratio, third, difference):
    def chain():
        return session().chain(first=1, second={"ratio": ratio, "paths": 100}, third=third)

    interrupt(session, path, leaves=True)
    before = contents(path)
    with pytest.raises(RunFolderError) as caught:
        chain()
    assert str(caught.value) == (
        f"run folder {path}: third was interrupted, and cannot go on with other settings: {difference}; finish it with"
        " those that it began with, give this run its own folder with name=NEW_NAME, or delete third.json there to"
        " start third anew"
    )
    assert contents(path) == before
    (path / "third.json").unlink()
    assert chain() == (["third"] if ratio == 0.25 else ["second", "third"])


def test_an_interrupted_stage_that_left_nothing_has_nothing_to_lose(session, path):
    interrupt(session, path, leaves=False)
    assert session().chain(first=1, second={"ratio": 0.4, "paths": 100}, third=3) == ["second", "third"]


def test_a_kill_loses_few_of_the_seconds(session, path):
    one = session()

    def work():
        (path / "first.json").write_text("1")
        time.sleep(0.02)
        one.folder.count_seconds()
        assert json.loads((path / "stages.json").read_text())["first"]["seconds"] == 0  # not at every call
        one.folder.count_seconds(every=0.01)
        assert json.loads((path / "stages.json").read_text())["first"]["seconds"] >= 0.02

    one.stage("first", work=work)
    one.folder.count_seconds(every=0)  # between two stages there is nothing to count
    assert 0.02 <= one.folder.seconds["first"] < 2


@pytest.mark.parametrize("name", [".second.json.before", ".second.writing.json", "second.json.part"])
def test_what_an_interrupted_writer_left_is_set_aside_too(session, path, name):
    session().chain(first=1, second=2)
    (path / name).write_text("a part")
    session().chain(first=1, second=3)
    assert not (path / name).exists()
    assert (path / "previous" / "1" / name).is_file()


@pytest.mark.parametrize(
    ("changed", "ran"),
    [
        ({}, []),
        ({"side": 2}, ["side", "leaf"]),
        ({"leaf": 2}, ["leaf"]),
        ({"third": 2}, ["third"]),
        ({"second": 2}, ["second", "side", "leaf", "third"]),
        ({"side": None}, ["leaf"]),
    ],
)
def test_what_changes_on_a_branch_redoes_nothing_on_the_chain(session, path, changed, ran):
    def run(second=1, side=1, leaf=1, third=1):
        one = session()
        one.chain(first=1, second=second)
        if side is not None:
            one.stage("side", side, branch=True)
        one.stage("leaf", leaf, branch=True)
        one.stage("third", third)
        return one

    run()
    assert run(**changed).ran == ran
    assert (path / "side.json").exists() == (changed.get("side", 1) is not None)
    assert run(**changed).ran == []
    assert set(run().folder.seconds) == {"first", "second", "side", "leaf", "third"}


def test_a_changed_first_stage_is_another_configuration(session, path):
    settings = {"seed": 0, "network": {"small": {"head": 8, "neck": [8, 8]}}, "warmup": 1}
    session().stage("first", settings)
    before = contents(path)
    with pytest.raises(RunFolderError) as caught:
        session().stage("first", {**settings, "seed": 1, "network": {"small": {"head": 16, "neck": [8, 8]}}})
    assert str(caught.value) == (
        f"run folder {path} belongs to another configuration: value.network.small.head was 8 and is 16;"
        " value.seed was 0 and is 1; give this run its own with name=NEW_NAME, or delete the folder"
    )
    assert contents(path) == before


def test_of_many_differences_the_first_are_told(session):
    session().stage("first", dict.fromkeys("abcde", 0))
    with pytest.raises(RunFolderError, match="value.a was 0 and is 1; .*value.c was 0 and is 1 and 2 more; give"):
        session().stage("first", dict.fromkeys("abcde", 1))
    with pytest.raises(RunFolderError, match="value.f was None and is 1; give"):
        session().stage("first", {**dict.fromkeys("abcde", 0), "f": 1})


def test_a_damaged_record_is_said(session, path):
    session().chain(first=1)
    (path / "stages.json").write_text('{"first": {')
    with pytest.raises(RunFolderError) as caught:
        session()
    assert str(caught.value).startswith(f"{path}/stages.json cannot be read (Expecting property name")
    assert str(caught.value).endswith(
        "; delete it to run all stages again, which go on from checkpoints of the same settings"
    )


@pytest.mark.parametrize("damage", [b"", b"3", b"[", None])
def test_a_file_that_was_changed_since_is_set_aside_and_its_stage_done_again(session, path, damage):
    session().chain(first=1, second=2, third=3)
    file = path / "second.json"
    whole = file.read_bytes()
    file.unlink() if damage is None else file.write_bytes(damage)
    again = session()
    assert again.chain(first=1, second=2, third=3) == ["second"]
    assert file.read_bytes() == whole
    if damage is not None:
        assert (path / "previous/1/second.json").read_bytes() == damage
        moved = f"second: second.json: changed since, moved to {path}/previous/1"
        assert f"{moved}; what is missing of the stage is done again" in again.said


def test_files_that_no_record_tells_of_are_not_gone_on_with(session, path):
    """A record that was deleted leaves results that may be of any settings."""
    session().chain(first=1, second=2)
    (path / "stages.json").unlink()
    met = []
    again = session()
    again.stage(
        "first", 1, work=lambda: met.append((path / "first.json").exists()) or again.folder.write("first.json", 4)
    )
    assert met == [False]
    assert again.said[0].startswith("first: first.json: of no recorded stage, moved to ")
    assert (path / "previous/1/first.json").read_text() == "1\n"


def test_a_stage_that_was_interrupted_goes_on_with_its_own_files(session, path):
    def interrupted():
        (path / "first.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session().stage("first", 1, work=interrupted)
    met = []
    session().stage("first", 1, work=lambda: met.append((path / "first.json").read_text()))
    assert met == ["half"]


def test_all_processes_wait_as_often_where_a_setting_changes(session):
    """The one that writes moves files that another may look at before or afterwards."""
    session().chain(first=1, second=2)
    waits = []

    def work(made):
        waits.append("work")
        made.folder.write("second.json", 3)

    for writes in (False, True):
        made = session(writes=writes, barrier=lambda: waits.append("wait"))
        waits.clear()
        made.stage("first", 1)
        made.stage("second", 3, work=partial(work, made))
        assert waits == ["wait", "work", "wait"]


def test_folders_are_checkpoints_and_know_themselves(session, path):
    def work():
        (path / "checkpoint").mkdir()

    session().stage("first", 1, files=["checkpoint"], work=work)
    (path / "checkpoint" / "more").touch()
    assert not session().stage("first", 1, files=["checkpoint"], work=work)
    (path / "stages.json").unlink()
    assert session().stage("first", 1, files=["checkpoint"], work=lambda: None)
    assert (path / "checkpoint" / "more").exists()


def test_a_process_that_does_not_write_leaves_the_folder_as_it_is(session, path):
    session().chain(first=1, second=2)
    before = contents(path)
    other = session(writes=False)
    assert other.chain(first=1, second=3) == ["second"]
    assert contents(path) == before
    assert set(other.folder.seconds) == {"first", "second"}


def test_all_processes_wait_before_a_stage_changes_anything_and_after_it(session):
    events = []
    one = session(barrier=lambda: events.append("wait"))
    one.stage("first", work=lambda: events.append("work"), files=["."])
    assert events == ["wait", "wait", "work", "wait"]


ENTRY = {"digest": "d", "settings": {}, "files": ["a.csv"], "branch": False, "seconds": 1.0, "done": True}


@pytest.mark.parametrize(
    "stages",
    [
        None,
        [],
        {"a": None},
        *({"a": {**ENTRY, "files": [name]}} for name in ("../outside", "/etc/passwd", "..", "", "*", "a/b", 3)),
        *({"a": {**ENTRY, key: None}} for key in ENTRY),
        {"a": {**ENTRY, "seconds": float("inf")}},
        {"a": {**ENTRY, "seconds": -1}},
    ],
)
def test_a_record_that_is_none_is_said(tmp_path, stages):
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    with pytest.raises(RunFolderError, match="stages.json is no record of stages; delete it to run all stages again"):
        RunFolder(tmp_path, say=print)
