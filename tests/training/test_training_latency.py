"""The table of latency: timed once and to the end, read strictly, and set against whole networks."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, RunFolderError
from nnabla_detofa.run_options import CostOptions
from nnabla_detofa.space import CostModel, DetectorLayers, SearchSpace
from nnabla_detofa.space.layers import macs
from nnabla_detofa.storage import Stages
from nnabla_detofa.supernet import latency as timing
from nnabla_detofa.training import cost_summary, latency
from nnabla_detofa.training.costs import cost_model
from nnabla_detofa.training.latency import read_times

HEADER = "kind,n_in,n_middle,n_out,stride,shortcut,side,nanoseconds"


@pytest.fixture
def timed(monkeypatch):
    """Timing without a clock: a layer takes a nanosecond a MAC, a network twice its MACs; grows with what is timed."""
    timed = []

    def nanoseconds(self, forward):  # noqa: ARG001
        timed.append(forward)
        if len(timed) == getattr(nanoseconds, "stop", None):
            raise KeyboardInterrupt
        return forward.nanoseconds

    def layer_forward(layer, like, *, batch):  # noqa: ARG001
        return SimpleNamespace(layer=layer, nanoseconds=macs(layer))

    def network_forward(network, image_size, *, batch):  # noqa: ARG001
        return SimpleNamespace(path=network.path, nanoseconds=2 * int(network.flops(image_size)(network.path[None])[0]))

    monkeypatch.setattr(timing.Stopwatch, "nanoseconds", nanoseconds)
    monkeypatch.setattr(latency, "layer_forward", layer_forward)
    monkeypatch.setattr(latency, "network_forward", network_forward)
    return SimpleNamespace(passes=timed, stop=lambda at: setattr(nanoseconds, "stop", at))


@pytest.fixture
def session(tmp_path, tiny):
    """Builds what a latency needs of a run, in one folder each time as a new session of it."""
    model = tiny()

    def build(image_size=(32, 32), **network):
        said = []
        folder = Stages(tmp_path / "run", say=said.append)

        def cost(name="latency", **options):
            given = {"repetitions": 3, "warm_up": 1, "check_paths": 12, **options} if name == "latency" else {}
            return cost_model(
                model,
                model.flops(image_size),
                image_size,
                CostOptions(name=name, **given),
                stages=folder,
                session=SimpleNamespace(
                    say=said.append,
                    rng=lambda purpose: np.random.default_rng(len(purpose)),
                    progress=lambda iterable, name: iterable,  # noqa: ARG005
                    processes=SimpleNamespace(barrier=lambda: None),
                ),
                synchronise=lambda: None,
                network={"tiny": {"head": 8, **network}},
            )

        return SimpleNamespace(model=model, said=said, folder=folder, cost=cost)

    return build


@pytest.fixture
def layers(session):
    return session().model.network_layers(32).distinct()


@pytest.fixture
def paths(session):
    return session().model.space.sample(50, np.random.default_rng(0))


def test_a_table_of_all_layers_and_what_it_says_of_networks(session, timed, layers, paths):
    run = session()
    cost = run.cost()
    np.testing.assert_array_equal(cost(paths), run.model.flops(32)(paths))
    lines = (run.folder / "latency.csv").read_text().splitlines()
    assert lines == [HEADER, *(",".join(map(str, (*layer[:7], macs(layer)))) for layer in layers)]
    found = json.loads((run.folder / "latency_check.json").read_text())
    assert found == {"paths": 12, "pearson": pytest.approx(1), "spearman": pytest.approx(1), "mean_relative_error": 0.5}
    assert run.said[-1].endswith("Pearson 1.000, Spearman 1.000, mean relative error 50.0%")
    assert cost_summary(cost, run.folder) == {"name": "latency", "unit": "ns", "prediction": found}
    again, passes = session(), len(timed.passes)
    np.testing.assert_array_equal(again.cost()(paths), cost(paths))
    assert len(timed.passes) == passes == len(layers) + 12
    assert again.said[-1] == run.said[-1]


@pytest.mark.parametrize("after", [1, 20, -6])
def test_an_interrupted_timing_goes_on(session, timed, layers, paths, after):
    timed.stop(after if after > 0 else len(layers) + 12 + after)
    with pytest.raises(KeyboardInterrupt):
        session().cost()
    timed.stop(None)
    run = session()
    file = run.folder / "latency.csv"
    file.write_text(file.read_text() + "block,8,")  # what was being written is cut short
    np.testing.assert_array_equal(run.cost()(paths), run.model.flops(32)(paths))
    assert len(timed.passes) == len(layers) + 12 + 1  # nothing twice but what was interrupted
    assert len((run.folder / "latency_check.csv").read_text().splitlines()) == 13
    assert json.loads((run.folder / "latency_check.json").read_text())["paths"] == 12


def test_without_a_check_no_network_is_timed(session, timed, layers):
    run = session()
    cost = run.cost(check_paths=0)
    assert len(timed.passes) == len(layers)
    assert cost_summary(cost, run.folder) == {"name": "latency", "unit": "ns"}
    assert {file.name for file in run.folder.path.iterdir()} == {"latency.csv", "stages.json"}


def test_timing_of_other_settings_or_networks_is_another_run(session, timed):
    session().cost()
    passes = len(timed.passes)
    for run, options, said in (
        (session(), {"repetitions": 5}, "repetitions was 3 and is 5"),
        (session(head=16), {}, "network.tiny.head was 8 and is 16"),
    ):
        with pytest.raises(RunFolderError, match=f"belongs to another configuration: {said};"):
            run.cost(**options)
    assert len(timed.passes) == passes


def test_a_table_of_an_oblong_network_says_height_and_width(session, timed, paths):
    run = session(image_size=(32, 64))
    np.testing.assert_array_equal(run.cost()(paths), run.model.flops((32, 64))(paths))
    rows = [line.split(",") for line in (run.folder / "latency.csv").read_text().splitlines()]
    assert rows[1][:-1] == ["stem", *rows[1][1:6], "32x64"]
    assert {row[6].partition("x")[0] for row in rows[1:]} <= {"32", "16", "8", "4", "2", "1"}
    n = len(timed.passes)
    np.testing.assert_array_equal(session(image_size=(32, 64)).cost()(paths), run.cost()(paths))
    assert len(timed.passes) == n
    with pytest.raises(RunFolderError, match=r"image_size was \[32, 64\] and is 32"):
        session().cost()


@pytest.fixture
def table(tmp_path, layers):
    """The lines of a good table of the user's, and a function that writes some into the file and names it."""
    lines = [",".join(map(str, (*layer[:7], 1000 + i))) for i, layer in enumerate(layers)]

    file = tmp_path / "phone.csv"

    def write(*some):
        file.write_text("\n".join([HEADER, *some]) + "\n")
        return {"table": str(file), "check_paths": 0}

    return SimpleNamespace(lines=lines, write=write, file=file)


def test_a_table_of_the_users_is_taken_as_it_is(session, timed, table, layers, paths):
    options, run = table.write(*reversed(table.lines), ""), session()  # in any order, with an empty line
    cost = run.cost(**options)
    assert timed.passes == []
    times = {layer: 1000 + i for i, layer in enumerate(layers)}
    np.testing.assert_array_equal(cost(paths), CostModel.latency(run.model.network_layers(32), times)(paths))
    assert sorted((run.folder / "latency.csv").read_text().splitlines()) == sorted([HEADER, *table.lines])
    np.testing.assert_array_equal(session().cost(**options)(paths), cost(paths))
    table.write(*table.lines[:-1], table.lines[-1].replace(",10", ",20"))
    with pytest.raises(RunFolderError, match="belongs to another configuration: table was"):
        session().cost(**options)


def changed(cell, value):
    def spoil(lines):
        cells = lines[2].split(",")
        cells[cell] = value
        return [*lines[:2], ",".join(cells), *lines[3:]]

    return spoil


WRONG = [
    (lambda lines: lines[:-2], "lacks 2 of {n} layers"),
    (lambda _: [], "lacks {n} of {n} layers"),
    (lambda lines: [*lines, lines[4]], "line {last}, {fifth}: .* twice"),
    (changed(1, "5"), "line 4, block,5,4,12.*: no path"),
    (lambda lines: [*lines, "deconv,8,8"], "line {last}, deconv,8,8: no path"),
    *((changed(-1, cell), f"line 4, .* nanoseconds is '{cell}'") for cell in ("fast", "12.5", "0", "-7", "²")),
    (changed(-1, str(2**48)), f"line 4, .* nanoseconds is '{2**48}'"),
    (changed(-1, "9" * 5000), "line 4, .* it must be a whole number"),
    (b"a,b\n", "begins with 'a,b', not '{columns}'"),
    (b"", "begins with ''"),
    *((content, "cannot be read") for content in (b"\xff\xfe", b"a\0b\n", None)),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_table_is_one_line_that_names_the_row(session, timed, table, number):
    content, said = WRONG[number]
    run, n, lines = session(), len(table.lines), content(table.lines) if callable(content) else []
    options, file = table.write(*lines), table.file
    if content is None:
        file.unlink()
    elif not callable(content):
        file.write_bytes(content)
    said = said.format(n=n, last=n + 2, fifth=table.lines[4], columns=HEADER)
    with pytest.raises(ConfigError, match=f"the latency table {file},? {said}"):
        run.cost(**options)
    assert timed.passes == list(run.folder.path.iterdir()) == []


@pytest.mark.parametrize("name", ["flops", "parameters", "memory"])
def test_computed_costs_are_those_of_the_network(session, name):
    run = session()
    cost = run.cost(name)
    assert cost.name == name
    assert cost_summary(cost, run.folder) == {"name": name, "unit": cost.unit}
    assert cost.range(run.model.space)[1] > 0


def test_agreement_equals_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    predicted = rng.integers(1, 20, 40).astype(float)  # with ties
    measured = predicted + rng.integers(1, 20, 40)
    found = latency.agreement(predicted, measured)
    assert found["spearman"] == pytest.approx(stats.spearmanr(predicted, measured)[0])
    assert found["pearson"] == pytest.approx(np.corrcoef(predicted, measured)[0, 1])
    errors = [abs(p / m - 1) for p, m in zip(predicted, measured, strict=True)]
    assert found["mean_relative_error"] == pytest.approx(sum(errors) / 40)
    one = latency.agreement(np.array([2.0]), np.array([4]))
    assert (one["pearson"], one["spearman"], one["mean_relative_error"]) == (None, None, 0.5)
    assert "Pearson none, Spearman none, mean relative error 50.0%" in latency.told(one)


def test_a_table_has_the_columns_that_its_layers_need(tmp_path):
    layers = DetectorLayers(SearchSpace.ofa_mbv3(depths=[1]), image_size=32, n_classes=3).distinct()
    fields = [[*map(str, layer[:10])] for layer in layers]  # all have the depth that is left out
    lines = [",".join([*one, str(1 + number)]) for number, one in enumerate(fields)]
    header = HEADER.replace("nanoseconds", "kernel,squeeze,activation,nanoseconds")
    (tmp_path / "table.csv").write_text("\n".join([header, *lines]) + "\n")
    assert read_times(tmp_path / "table.csv", layers) == {layer: 1 + number for number, layer in enumerate(layers)}
    (tmp_path / "table.csv").write_text(HEADER + "\n")
    with pytest.raises(ConfigError, match="side,nanoseconds', not '.*kernel,squeeze,activation,nanoseconds'"):
        read_times(tmp_path / "table.csv", layers)
