"""The table of latency: timed once and to the end, read strictly, and set against whole networks."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, RunFolderError
from nnabla_detofa.space.layers import macs
from nnabla_detofa.supernet import latency as timing
from nnabla_detofa.training import latency
from nnabla_detofa.training.costs import check_cost, cost_model, cost_summary
from nnabla_detofa.training.run_folder import RunFolder

OPTIONS = {"name": "latency", "table": None, "batch": 1, "repetitions": 3, "warm_up": 1, "check_paths": 12}
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
    """Builds what `latency_model` needs of a run, in one folder each time as a new session of it."""
    model = tiny()

    def build():
        said = []
        return SimpleNamespace(
            model=model,
            said=said,
            say=said.append,
            folder=RunFolder(tmp_path / "run", say=said.append),
            hparams={"identity": {"network": {"tiny": {"head": 8}}}},
            event=SimpleNamespace(default_stream_synchronize=lambda: None),
            rng=lambda purpose: np.random.default_rng(len(purpose)),
            progress=lambda iterable, name: iterable,  # noqa: ARG005
        )

    return build


def layers_of(run):
    return run.model.network_layers(32).distinct()


def test_a_table_of_all_layers_and_what_it_says_of_networks(session, timed):
    run = session()
    cost = cost_model(run, 32, OPTIONS)
    paths = run.model.space.sample(50, np.random.default_rng(0))
    np.testing.assert_array_equal(cost(paths), run.model.flops(32)(paths))
    lines = (run.folder / "latency.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[1:] == [",".join(map(str, (*layer, macs(layer)))) for layer in layers_of(run)]
    found = json.loads((run.folder / "latency_check.json").read_text())
    assert found == {"paths": 12, "pearson": pytest.approx(1), "spearman": pytest.approx(1), "mean_relative_error": 0.5}
    assert run.said[-1] == (
        "latency: sums of the table against 12 whole networks timed on this device: Pearson 1.000, Spearman 1.000,"
        " mean relative error 50.0%"
    )
    assert cost_summary(run, cost) == {"name": "latency", "unit": "ns", "prediction": found}
    again = session()
    passes = len(timed.passes)
    np.testing.assert_array_equal(cost_model(again, 32, OPTIONS)(paths), cost(paths))
    assert len(timed.passes) == passes == len(layers_of(run)) + 12
    assert again.said == ["latency: kept, its inputs are unchanged", run.said[-1]]


@pytest.mark.parametrize("after", [1, 20, -6])
def test_an_interrupted_timing_goes_on(session, timed, after):
    n_layers = len(layers_of(session()))
    at = after if after > 0 else n_layers + 12 + after
    timed.stop(at)
    with pytest.raises(KeyboardInterrupt):
        cost_model(session(), 32, OPTIONS)
    timed.stop(None)
    file = session().folder / "latency.csv"
    file.write_text(file.read_text() + "block,8,")  # what was being written is cut short
    run = session()
    cost = cost_model(run, 32, OPTIONS)
    assert len(timed.passes) == n_layers + 12 + 1  # nothing twice but what was interrupted
    paths = run.model.space.sample(5, np.random.default_rng(0))
    np.testing.assert_array_equal(cost(paths), run.model.flops(32)(paths))
    assert len((run.folder / "latency_check.csv").read_text().splitlines()) == 13
    assert run.folder.read("latency_check.json")["paths"] == 12


def test_without_a_check_no_network_is_timed(session, timed):
    run = session()
    cost = cost_model(run, 32, {**OPTIONS, "check_paths": 0})
    assert len(timed.passes) == len(layers_of(run))
    assert cost_summary(run, cost) == {"name": "latency", "unit": "ns"}
    assert {file.name for file in run.folder.path.iterdir()} == {"latency.csv", "stages.json"}


def test_timing_of_other_settings_or_networks_is_another_run(session, timed):  # noqa: ARG001
    cost_model(session(), 32, OPTIONS)
    with pytest.raises(RunFolderError, match="belongs to another configuration: repetitions was 3 and is 5;"):
        cost_model(session(), 32, {**OPTIONS, "repetitions": 5})
    other = session()
    other.hparams["identity"]["network"] = {"tiny": {"head": 16}}
    with pytest.raises(RunFolderError, match="belongs to another configuration: network.tiny.head was 8 and is 16;"):
        cost_model(other, 32, OPTIONS)


@pytest.fixture
def table(tmp_path, session):
    """The lines of a good table of the user's, and a function that writes some into the file and names it."""
    lines = [",".join(map(str, (*layer, 1000 + i))) for i, layer in enumerate(layers_of(session()))]

    def write(*some):
        file = tmp_path / "phone.csv"
        file.write_text("\n".join([HEADER, *some]) + "\n")
        return {**OPTIONS, "table": str(file)}

    return SimpleNamespace(lines=lines, write=write)


def test_a_table_of_the_users_is_taken_as_it_is(session, timed, table):
    options, run = table.write(*reversed(table.lines), ""), session()  # in any order, with an empty line
    cost = cost_model(run, 32, {**options, "check_paths": 0})
    assert timed.passes == []
    paths = run.model.space.sample(20, np.random.default_rng(0))
    times = {layer: 1000 + i for i, layer in enumerate(layers_of(run))}
    stem = run.model.network_layers(32).costs(lambda layers: sum(times[layer] for layer in layers)).stem
    assert cost.layers.stem.tolist() == stem.tolist()
    assert sorted((run.folder / "latency.csv").read_text().splitlines()) == sorted([HEADER, *table.lines])
    np.testing.assert_array_equal(cost_model(session(), 32, {**options, "check_paths": 0})(paths), cost(paths))
    table.write(*table.lines[:-1], table.lines[-1].replace(",10", ",20"))
    with pytest.raises(RunFolderError, match="belongs to another configuration: table was '.*' and is '.*';"):
        cost_model(session(), 32, {**options, "check_paths": 0})


def changed(lines, cell, value):
    cells = lines[2].split(",")
    cells[cell] = value
    return [*lines[:2], ",".join(cells), *lines[3:]]


A_NUMBER = "it must be a whole number from 1 to below 2**48"
WRONG = [
    (lambda lines: lines[:-2], "lacks 2 of {n} layers, the first: head,8,8,3,1,none,8"),
    (lambda _: [], "lacks {n} of {n} layers, the first: stem,3,"),
    (lambda lines: [*lines, lines[4]], "line {last}, {fifth}: this layer is there twice"),
    (lambda lines: changed(lines, 1, "5"), "line 4, block,5,4,12"),
    (lambda lines: changed(lines, 1, "5"), ": no path of this network has that layer"),
    (lambda lines: [*lines, "deconv,8,8"], "line {last}, deconv,8,8: no path of this network has that layer"),
    (lambda lines: changed(lines, -1, "12.5"), f": nanoseconds is '12.5'; {A_NUMBER}"),
    (lambda lines: changed(lines, -1, "fast"), f": nanoseconds is 'fast'; {A_NUMBER}"),
    (lambda lines: changed(lines, -1, "0"), f": nanoseconds is '0'; {A_NUMBER}"),
    (lambda lines: changed(lines, -1, "-7"), f": nanoseconds is '-7'; {A_NUMBER}"),
    (lambda lines: changed(lines, -1, "²"), f": nanoseconds is '²'; {A_NUMBER}"),
    (lambda lines: changed(lines, -1, str(2**48)), f": nanoseconds is '{2**48}'; {A_NUMBER}"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_table_is_one_line_that_names_the_row(session, timed, table, number):
    spoil, said = WRONG[number]
    options, run = table.write(*spoil(table.lines)), session()
    with pytest.raises(ConfigError) as caught:
        cost_model(run, 32, options)
    message, n = str(caught.value), len(table.lines)
    assert message.startswith(f"the latency table {options['table']}")
    assert said.format(n=n, last=n + 2, fifth=table.lines[4]) in message
    assert "\n" not in message
    assert timed.passes == []
    assert list(run.folder.path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n", "begins with 'a,b', not 'kind,n_in,n_middle,n_out,stride,shortcut,side,nanoseconds'"),
        (b"", "begins with '', not 'kind"),
        (b"\xff\xfe", "cannot be read: 'utf-8' codec"),
        (b"a\0b\n", "cannot be read: line contains NUL"),
        (None, "cannot be read: [Errno 2] No such file"),
    ],
)
def test_a_file_that_is_no_table(session, tmp_path, content, said):
    file = tmp_path / "phone.csv"
    with nullcontext() if content is None else file.open("wb") as stream:
        if stream is not None:
            stream.write(content)
    with pytest.raises(ConfigError) as caught:
        cost_model(session(), 32, {**OPTIONS, "table": str(file)})
    assert str(caught.value).startswith(f"the latency table {file} {said}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"name": "latencies"},
            "unknown cost 'latencies'; known: flops, latency, memory, parameters (did you mean 'lat",
        ),
        ({}, "cost lacks name"),
        ("flops", "cost is 'flops'; it must hold keys and their values"),
        ({"name": "flops", "table": None}, "unknown key in cost 'flops': 'table'; known: name"),
        ({**OPTIONS, "reps": 1}, "unknown key in cost: 'reps'; known: batch, check_paths, name, repetitions, table"),
        ({"name": "latency"}, "cost 'latency' lacks table, batch, repetitions, warm_up, check_paths"),
        ({**OPTIONS, "repetitions": 0}, "cost.repetitions is 0; it must be a whole number of at least 1"),
        ({**OPTIONS, "check_paths": -1}, "cost.check_paths is -1; it must be a whole number of at least 0"),
        ({**OPTIONS, "batch": 1.5}, "cost.batch is 1.5; it must be a whole number of at least 1"),
        ({**OPTIONS, "table": 3}, "cost.table is 3; it must name a CSV file, or be null"),
    ],
)
def test_costs_that_there_are_not(options, said):
    with pytest.raises(ConfigError) as caught:
        check_cost(options)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", ["flops", "parameters", "memory"])
def test_computed_costs_are_those_of_the_network(session, name):
    check_cost({"name": name})
    run = session()
    cost = cost_model(run, 32, {"name": name})
    assert cost.name == name
    assert cost_summary(run, cost) == {"name": name, "unit": cost.unit}
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
