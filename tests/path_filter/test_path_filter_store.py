"""Files of path filters: what a filter is loaded from or starts from, what must agree, and files that are none."""

import json

import h5py
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, WeightsError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, evaluate, fit
from nnabla_detofa.space import SearchSpace

LAYOUT = TokenLayout(vocabulary=3, layer=[0, 1, 2, 3, 4], block=[0, 0, 1, 1, 1])
SMALL = {"dim": 16, "heads": 2, "layers": 2, "hidden": 12, "main_effects": False}
SPACE = {"widths": (0.65, 0.8, 1.0), "elastic_stem": True}
TOKENS, BUCKETS = np.random.default_rng(1).integers(0, 3, (20, 5)), np.arange(20) % 2


def fresh(seed=0, n_buckets=2, layout=LAYOUT, **options):
    return PathFilter(layout, n_buckets, rng=np.random.default_rng(seed), **{**SMALL, **options})


@pytest.fixture
def file(tmp_path):
    """A filter saved with its space, in a folder that was not there."""
    fresh().save(tmp_path / "new" / "path_filter.h5", space=SPACE)
    return tmp_path / "new" / "path_filter.h5"


def refused(call, *said):
    with pytest.raises(WeightsError) as caught:
        call()
    assert all(one in str(caught.value) for one in said), str(caught.value)


def edit(file, change):
    """Change an open file, or the entries of its header."""
    with h5py.File(file, "r+") as source:
        if callable(change):
            change(source)
        else:
            source.attrs["header"] = json.dumps(json.loads(source.attrs["header"]) | change)


def test_load_gives_back_what_was_saved_and_a_start_has_its_scores(file):
    path_filter, loaded, started = fresh(), PathFilter.load(str(file), layout=LAYOUT, space=SPACE), fresh(seed=5)
    assert (loaded.layout, loaded.design) == (path_filter.layout, path_filter.design)
    assert not np.array_equal(started.score(TOKENS, BUCKETS), path_filter.score(TOKENS, BUCKETS))
    started.start_from(file, space=SPACE)
    for one in (loaded, started):
        assert np.array_equal(one.score(TOKENS, BUCKETS), path_filter.score(TOKENS, BUCKETS))
    assert [entry.name for entry in file.parent.iterdir()] == ["path_filter.h5"]


def test_a_filter_by_value_is_loaded_by_value(tmp_path):
    """Its file says which numbers its tokens are; another filter's is as it was before there were any."""
    values = (tuple(float(i) for i in range(6)),) * 5
    layout = LAYOUT._replace(vocabulary=6, values=values)
    fresh(layout=layout).save(tmp_path / "by_value.h5")
    loaded = PathFilter.load(tmp_path / "by_value.h5", layout=layout)
    assert "value" in loaded.parameters and loaded.layout.values == values
    assert np.array_equal(loaded.score(TOKENS, BUCKETS), fresh(layout=layout).score(TOKENS, BUCKETS))
    refused(lambda: PathFilter.load(tmp_path / "by_value.h5", layout=layout._replace(values=())), "values")
    fresh().save(tmp_path / "per_level.h5")
    with h5py.File(tmp_path / "per_level.h5") as source:
        assert set(json.loads(source.attrs["header"])["layout"]) == {"vocabulary", "layer", "block"}


# ---- starts


def measured(n, seed, *, noise=0.0):
    """Paths, buckets and losses, which are a number for each token plus one for each pair of neighbours."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(99)
    effect, pairs = truth.standard_normal((5, 3)), truth.standard_normal((4, 3, 3))
    tokens, where = rng.integers(0, 3, (n, 5)), np.arange(5)
    loss = effect[where, tokens].sum(axis=1) + pairs[where[:4], tokens[:, :-1], tokens[:, 1:]].sum(axis=1) / 2
    return tokens, rng.integers(0, 2, n), loss + noise * rng.standard_normal(n)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The file of a filter that was fitted to many paths."""
    path_filter, file = fresh(layers=1, hidden=16), tmp_path_factory.mktemp("pretrained") / "path_filter.h5"
    fit(path_filter, *measured(300, seed=0), rng=np.random.default_rng(0), epochs=40, learning_rate=3e-3, batch=32)
    path_filter.save(file)
    return file


def test_a_few_paths_are_enough_for_a_pretrained_filter(pretrained):
    """A fit to 16 paths from scratch cannot find what one that starts from pre-trained weights keeps."""
    tokens, buckets, losses = measured(300, seed=9)
    taus = []
    for starts in (True, False):
        path_filter = fresh(seed=5, layers=1, hidden=16)
        if starts:
            path_filter.start_from(pretrained)
        fit(path_filter, *measured(16, seed=2, noise=0.3), rng=np.random.default_rng(1), epochs=20, learning_rate=1e-4)
        taus.append(evaluate(path_filter.score(tokens, buckets), losses, buckets)["kendall_tau"])
    assert taus[0] > 0.6 > 0.5 > taus[1]


def test_a_start_that_no_epoch_betters_is_kept(pretrained):
    path_filter = PathFilter.load(pretrained)
    weights = path_filter.weights
    report = fit(path_filter, *measured(40, seed=3), rng=np.random.default_rng(1), epochs=3, learning_rate=1.0)
    assert report.best_epoch == -1
    assert all(np.array_equal(value, weights[name]) for name, value in path_filter.weights.items())


OTHERS = {"n_buckets": 3, "dim": 8, "heads": 4, "layers": 1, "hidden": 8}
OTHERS |= {"budget_condition": False, "block_encoding": False, "main_effects": True}


def test_every_option_of_the_design_must_agree(file):
    design = dict(fresh().design)
    assert set(OTHERS) == set(design)
    for name, value in OTHERS.items():
        path_filter = fresh(seed=5, **{name: value})
        before = path_filter.weights
        refused(lambda one=path_filter: one.start_from(file), f"design: {name} {design[name]}, where {value} is wanted")
        assert all(np.array_equal(value, before[name]) for name, value in path_filter.weights.items())


def test_another_space_or_layout_is_refused(file):
    refused(lambda: fresh().start_from(file, space=SPACE | {"elastic_stem": False}), "space: elastic_stem True, where")
    refused(lambda: fresh().start_from(file, space=SPACE | {"widths": (0.5, 1.0)}), "space: widths [0.65, 0.8, 1.0]")
    refused(lambda: fresh().start_from(file, space=SPACE | {"coupled": True}), "space: coupled None, where True is")
    layout = SearchSpace.ofa_resnet50().token_layout()
    refused(lambda: fresh(layout=layout).start_from(file), "layout: vocabulary 3, where 13 is wanted")
    refused(lambda: PathFilter.load(file, layout=LAYOUT._replace(block=[0] * 5)), "layout: block [0, 0, 1, 1, 1]")


def test_a_file_without_a_space_is_known_by_its_layout_alone(pretrained):
    PathFilter.load(pretrained, layout=LAYOUT, space=SPACE)


@pytest.mark.parametrize("given", [3, True, ["a.h5"]], ids=str)
def test_names_of_no_file(given):
    with pytest.raises(ConfigError) as caught:
        fresh().start_from(given)
    assert caught.value.key == "path_filter.pretrained"


# ---- files that are none


def test_missing_and_foreign_files(tmp_path, file):
    refused(lambda: PathFilter.load(tmp_path / "none.h5"), "there is no")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["conv/W"] = np.zeros(3)
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "half.h5").write_bytes(file.read_bytes()[:3000])
    for name in ("other", "text", "half"):
        refused(lambda name=name: PathFilter.load(tmp_path / f"{name}.h5"), "is damaged or no path filter")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "weights"}, "is no path filter"),
        ({"version": 9}, "version 9"),
        ({"layout": {"vocabulary": 4}}, "header"),
        ({"layout": LAYOUT._replace(vocabulary=0)._asdict()}, "header"),
        ({"layout": LAYOUT._replace(vocabulary=5)._asdict()}, "'token' is (3, 16) float32; it must be (5, 16) float32"),
        ({"design": {"dim": 8, "tail": 3}}, "header"),
        ({"design": 3}, "header"),
        ({"space": 3}, "header"),
    ],
)
def test_headers_that_do_not_fit(file, change, said):
    edit(file, change)
    refused(lambda: PathFilter.load(file, space=SPACE), said)


TOO_LARGE = [{"dim": 2**40}, {"dim": 4096}, {"layers": 90}, {"hidden": 10**4}, {"n_buckets": 900}]


@pytest.mark.parametrize("change", TOO_LARGE, ids=str)
def test_no_network_of_sizes_that_the_file_does_not_have_is_made(file, change, monkeypatch):
    edit(file, {"design": dict(fresh().design) | change})
    monkeypatch.setattr(PathFilter, "__init__", lambda *_, **__: pytest.fail("a network was made"))
    refused(lambda: PathFilter.load(file))


def new(name, **made):
    return lambda source: source.create_dataset(f"weights/{name}", **made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (new("bomb", shape=(10**12,), dtype="f4"), "bomb is compressed"),
        (new("text", data="x" * 100), "text holds object"),
        (new("extra", data=np.zeros(2, np.float32)), "'extra' is unknown"),
        (lambda source: source.pop("weights/token"), "'token' is missing"),
        (lambda source: source["weights/token"].write_direct(np.full((3, 16), np.nan, np.float32)), "not finite"),
        (lambda source: (source.pop("weights/token"), new("token", data=np.zeros((3, 16)))(source)), "float64"),
    ],
)
def test_arrays_that_do_not_fit(file, change, said):
    edit(file, change)
    refused(lambda: PathFilter.load(file), said)
