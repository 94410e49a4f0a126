"""Detectors of a finished run: each once, ranked by cost, with the weights and statistics that were evaluated."""

import json
import shutil

import numpy as np
import pytest
from small_runs import arrays

from nnabla_detofa.deploy import export
from nnabla_detofa.deploy.folder import FORMATS
from nnabla_detofa.deploy.front import chosen, front_of_folder
from nnabla_detofa.deploy.nnp import maps_of
from nnabla_detofa.errors import HostError, SpaceError
from nnabla_detofa.ranking import folders, ranked
from nnabla_detofa.search_stages import Detector
from nnabla_detofa.supernet import NETWORKS, extract, load_weights
from nnabla_detofa.training import preparer


def found(path, flops, ap=0.5, **known):
    return Detector(path=path, flops=flops, ap=ap, **known)


ROWS = [
    found((0, 1), 3_000_000, 0.2, budget=4e6),
    found((0, 0), 1_250_000, 0.3, budget=2e6),
    found((0, 1), 3_000_000, 0.2, budget=8e6),
    found((1, 1), 9_000_000, 0.1, name="largest path"),
]


def test_each_detector_has_one_folder_by_cost():
    rows = ranked(ROWS)
    assert [one.folder for one in rows] == ["1-1.25M", "2-3M", "3-9M"]
    assert [one.budgets for one in rows] == [(2e6,), (4e6, 8e6), ()]
    assert [one.rank for one in rows] == [1, 2, 3]
    assert folders(ROWS) == [f"detectors/{name}" for name in ("2-3M", "1-1.25M", "2-3M", "3-9M")]
    other_cost = [found((0, 0), 5, cost=8, budget=1.0), found((0, 1), 6, cost=7, budget=1.0)]
    assert [one.detector.path for one in ranked(other_cost)] == [(0, 1), (0, 0)]
    many = ranked([found((0, number), number) for number in range(1, 11)])
    assert [one.folder[:3] for one in many][::9] == ["01-", "10-"]


def test_choosing():
    rows = ranked(ROWS)
    assert chosen(rows) == rows
    assert chosen(rows, rank=3) == rows[2:]
    assert chosen(rows, budget=3_000_000) == rows[:1]  # of higher AP than what may cost more
    for asked in ({"rank": 4}, {"rank": 0}, {"budget": 1_249_999}):
        with pytest.raises(SpaceError):
            chosen(rows, **asked)


@pytest.fixture(scope="session")
def front(finished):
    return front_of_folder(finished[0].folder)


def test_a_run_writes_a_folder_for_each(finished, front):
    folder = finished[0].folder / "detectors"
    assert sorted(one.name for one in folder.iterdir()) == [one.folder for one in front.rows]
    table = finished[0].json("detectors.json")
    paths = {tuple(one["path"]) for one in (*table["pareto"], table["largest"])}
    assert {one.detector.path for one in front.rows} == paths
    for one in front.rows:
        names = {file.name for file in (folder / one.folder).iterdir()}
        assert names == {*(f"detector.{kind}" for kind in ("json", "onnx", "nnp", "h5")), "sums.json"}


def test_rows_name_the_folder_of_their_detector(finished):
    summary, table = finished[0].json("summary.json"), finished[0].rows("pareto.csv")
    assert [row["file"] for row in table] == [row["file"] for row in summary["pareto"]]
    for row in (*summary["pareto"], summary["largest"]):
        said = json.loads((finished[0].folder / row["file"] / "detector.json").read_text())
        assert {key: row[key] for key in said.keys() & row.keys()} == {
            key: said[key] for key in said.keys() & row.keys()
        }
        assert {"ap", "ap_interval", "ap_per_class", "on_front", "path"} <= said.keys() & row.keys()


def test_what_a_description_says(finished, front, ready):
    for one in front.rows:
        said = json.loads((finished[0].folder / "detectors" / one.folder / "detector.json").read_text())
        path = np.array(said["path"], np.int8)
        np.testing.assert_array_equal(ready.space.from_genotype(said["genotype"]), path)
        assert said["costs"]["flops"] == ready.flops(path[None])[0] == one.detector.flops
        ((name, options),) = said["network"].items()
        network = NETWORKS[name].TrainNet(**options)
        learnt = network.get_parameters(grad_only=True).values()
        assert said["costs"]["parameters"] == sum(parameter.d.size for parameter in learnt)
        assert (said["classes"], said["image_size"], said["stride"]) == (["0", "1", "7"], 32, 4)
        assert (said["ap"], said["metric"], said["seed"]) == (one.detector.ap, "voc07", 0)
        assert said["digest"] == finished[0].json("stages.json")["evaluate"]["digest"]


def test_statistics_are_those_that_a_path_is_evaluated_with(finished, front, ready):
    load_weights(ready.model, finished[0].folder / "weights.h5")
    prepare = preparer(ready).prepare
    for one in front.rows:
        prepare(one.detector.genes)
        wanted, own = extract(ready.model, one.detector.genes).get_parameters(), front.network_of(one).get_parameters()
        assert own.keys() == wanted.keys()
        for name, parameter in own.items():
            np.testing.assert_allclose(parameter.d, wanted[name].d, rtol=1e-4, atol=1e-5)


def test_weights_load_as_a_network_of_their_own(finished, front):
    for one in front.rows:
        folder = finished[0].folder / "detectors" / one.folder
        ((name, options),) = json.loads((folder / "detector.json").read_text())["network"].items()
        network = NETWORKS[name].TrainNet(pretrained=str(folder / "detector.h5"), **{**options, "kernels": "nnabla"})
        images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
        for ours, theirs in zip(maps_of(network, images), maps_of(front.network_of(one), images), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert arrays(folder / "detector.h5").keys() == network.get_parameters().keys()


@pytest.mark.parametrize("missing", [True, False])
def test_a_run_that_can_have_no_onnx_file_leaves_it_out_and_says_so(again, monkeypatch, missing):
    shutil.rmtree(again.folder / "detectors")
    lacking = HostError("pip install 'nnabla-detofa[onnx]'")

    def refused(*_, **__):
        raise lacking

    if missing:
        monkeypatch.setattr(export, "available", lambda: (["nnp", "h5"], lacking))
    else:  # its answers differ
        monkeypatch.setitem(FORMATS, "onnx", refused)
    answer = again()
    assert (answer.code, answer.ran, answer.err) == (0, ["export"], [])
    kinds = {file.suffix for file in (again.folder / "detectors").rglob("detector.*")}
    assert kinds == {".json", ".nnp", ".h5"}
    (line,) = [line for line in answer.out if "left out" in line]
    assert str(lacking) in line and f"nnabla_detofa export {again.folder}" in line
