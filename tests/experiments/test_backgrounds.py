"""Detectors of a run on new pictures over the parts of both splits: what is drawn, judged and told."""

import numpy as np
import pytest

from experiments.backgrounds import Judged, judged, main, page
from nnabla_detofa.search_stages import evaluated as detectors_of
from nnabla_detofa.storage.files import read_json


def found(ap):
    return {"ap": ap, "ap_interval": [ap - 0.01, ap + 0.01]}


def test_a_runs_detectors_are_judged_on_new_pictures_of_both_kinds(finished, tmp_path, capsys):
    command, _ = finished
    main([str(command.folder), "--out", str(tmp_path), "--pictures", "20"])
    said = capsys.readouterr().out
    rows = [*judged(command.folder, tmp_path / "pictures", 20)]
    assert "\n".join(page(rows)) + "\n" == said == (tmp_path / "backgrounds.md").read_text()
    assert [one.detector for one in rows] == sorted(one.name for one in (command.folder / "detectors").iterdir())
    said_by_the_run = {one.ap for one in detectors_of(command.json("detectors.json"))}
    assert {one.test for one in rows} == said_by_the_run
    (drawn,) = (tmp_path / "pictures").iterdir()
    options = read_json(drawn / "manifest.json")
    assert (options["n_train"], options["n_test"]) == (20, 20) and options["seed"] != 0
    assert all(found["images"] == 20 for one in rows for found in (one.trained, one.unseen))
    assert all(one.trained["dataset"] != one.unseen["dataset"] for one in rows)
    assert all(one.trained["ap_interval"] != one.unseen["ap_interval"] for one in rows if one.trained["ap"] > 0)


@pytest.mark.parametrize(("runs", "told"), [(1, "lost by the test split's parts: 10.0, 1 run."), (3, "3 runs.")])
def test_runs_count_alike_however_many_detectors_they_have(runs, told):
    rows = [Judged(str(run), str(n), found(0.6), found(0.5), None, 0.5) for run in range(runs) for n in range(1 + run)]
    lines = page(rows)
    assert lines[-1].endswith(told) and "10.0" in lines[-1]
    assert len(lines) == len(rows) + 4
    wide = page([*rows, *(Judged("worse", str(n), found(0.9), found(0.1), 0.8, 0.2) for n in range(50))])[-1]
    assert f"{np.mean([*[10] * runs, 80]):.1f}" in wide
