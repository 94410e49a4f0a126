"""Laws of guided draws: paths of the pruned space whose scores reach their bucket's threshold, set on the network."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import nnabla_detofa
from nnabla_detofa import guided_sampling
from nnabla_detofa.errors import ConfigError, HostError, WeightsError
from nnabla_detofa.guided_sampling import guide, host_cost, host_space
from nnabla_detofa.host.repair import MissingModule
from nnabla_detofa.launch.guided_networks import HostGuideOptions
from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.space import Budgets

BUCKETS = 3
NAMES = ("ofa_mbv3", "ofa_resnet50", "ofa_xception")


class Network:
    """A network of the host's as far as guidance sees it; it notes what is set."""

    _num_classes = 10
    _depth_list, _expand_ratio_list = (0, 1), (0.2, 0.35)
    _width_mult_list = (0.65, 1.0)

    def __init__(self, **options):
        self.given, self.set = options, []

    def sample_active_subnet(self):
        raise AssertionError("its own draw")

    def set_active_subnet(self, **genotype):
        self.set.append(genotype)


class MobileNet(Network):
    """One that has kernels, too."""

    _depth_list, _ks_list, _expand_ratio_list = [2, 3], [3, 5, 7], [3, 6]
    _width_mult, _compound, _fixed_kernel = 0.25, False, False


class XceptionNet(Network):
    """One whose depths are of blocks."""

    _depth_list, _ks_list, _expand_ratio_list, _width_mult = [1, 2], [3, 5], [0.6, 1], 0.0625


HOSTS = {"ofa_mbv3": MobileNet, "ofa_resnet50": Network, "ofa_xception": XceptionNet}


class Case:
    """A network under a cost, the files of a run on its space, and the scores that were planted in the filter."""

    def __init__(self, name, folder):
        self.name, self.network = name, HOSTS[name]()
        self.cost = host_cost(name, self.network, "flops", (64, 64))
        self.space = self.cost.space
        self.pruned = self.space.restrict(np.random.default_rng(1).random(self.space.n_operations) > 0.05)
        self.budgets = Budgets.equal_width(self.cost, n=BUCKETS)
        layout, rng = self.space.token_layout(), np.random.default_rng(2)
        filter_ = PathFilter(layout, BUCKETS, rng=rng, main_effects=True, dim=1, heads=1, layers=1, hidden=1)
        self.main = rng.normal(size=filter_.parameters["main"].shape).astype(np.float32)
        filter_.weights = {**filter_.weights, "main": self.main}
        self.files = {key: str(folder / file) for key, file in FILES.items()}
        filter_.save(self.files["path_filter"], space={**self.space.family.to_dict(), "cost": "flops"})
        (folder / FILES["pruned_space"]).write_text(json.dumps(self.pruned.to_dict()))

    def score(self, paths):
        """The scores planted for the tokens; a bucket's own share orders nothing in it."""
        tokens = self.space.tokenize(paths)
        rows = np.arange(tokens.shape[1]) * self.space.token_layout().vocabulary
        return self.main[tokens + rows, 0].sum(axis=1)

    def draws(self, n, *, seed=0, **options):
        """`n` genotypes that a network guided by the files was set to, as paths."""
        network = HOSTS[self.name]()
        guide(network, self.cost, rng=np.random.default_rng(seed), **{**self.files, **options})
        drawn = [network.sample_active_subnet() for _ in range(n)]
        assert drawn == network.set
        return np.array([self.space.from_genotype(one) for one in drawn])


FILES = {"path_filter": "path_filter.h5", "pruned_space": "pruned_space.json"}


@pytest.fixture(params=NAMES)
def case(request, tmp_path):
    return Case(request.param, tmp_path)


def test_the_space_is_that_of_the_networks_own_choices():
    choices = host_space("ofa_mbv3", MobileNet()).family.choices
    assert choices == {"depths": (2, 3), "kernels": (3, 5, 7), "expands": (3, 6)}
    assert host_space("ofa_resnet50", Network()).family.choices["widths"] == (0.65, 1.0)


def test_every_draw_is_of_the_pruned_space(case):
    paths = case.draws(400)
    assert case.pruned.size() < case.space.size() and case.pruned.contains(paths).all()
    whole = case.draws(400, pruned_space=None, path_ratio=0)
    assert not case.pruned.contains(whole).all()


@pytest.mark.parametrize("path_ratio", [0.25, 0.6])
def test_the_weakest_share_of_each_bucket_is_refused(case, path_ratio):
    rng, bucket = np.random.default_rng(7), case.budgets.bucket
    paths = case.draws(600, path_ratio=path_ratio)
    for number in case.budgets.reachable(case.pruned, case.cost):
        low, high = case.budgets.range(number)
        others = case.score(case.pruned.sample(4000, rng, cost=case.cost, low=low, high=high))
        own = case.score(paths[bucket(case.cost(paths)) == number])
        if len(own):
            assert (others < own.min()).mean() > path_ratio - 0.06  # the quantile of 1,000 others
    free = case.draws(600, path_ratio=0)
    assert case.score(free).mean() < case.score(paths).mean()


def test_thresholds_are_of_the_pruned_space(case, monkeypatch):
    asked, thresholds = [], guided_sampling.path_thresholds

    def noted(space, *rest, **options):
        asked.append(space)
        return thresholds(space, *rest, **options)

    monkeypatch.setattr(guided_sampling, "path_thresholds", noted)
    case.draws(1)
    assert asked == [case.pruned]


@pytest.mark.parametrize("path_ratio", [0.25, 0.5])
def test_as_large_a_share_of_uniform_draws_is_refused(case, path_ratio):
    rng, options = np.random.default_rng(0), {"path_ratio": path_ratio, "sampler": "uniform"}
    accepted = guide(case.network, case.cost, rng=rng, **case.files, **options)
    for _ in range(600):
        case.network.sample_active_subnet()
    assert abs(accepted.rejected.sum() / accepted.drawn.sum() - path_ratio) < 0.07  # δ is of 1,000 others a bucket


def test_one_seed_is_one_sequence(case):
    first, again, other = (case.draws(50, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_draw_sets_what_it_returns_and_is_counted(case):
    accepted = guide(case.network, case.cost, rng=np.random.default_rng(0), **case.files)
    case.network.sample_active_subnet()
    assert accepted.space == case.pruned
    assert len(case.network.set) == 1 and accepted.drawn.sum() > accepted.rejected.sum() > 0


@pytest.mark.parametrize(
    ("changed", "cost", "message"),
    [
        ({"_depth_list": [2, 3, 4]}, "flops", "path_filter.h5 holds a path filter of another space: depths"),
        ({"_ks_list": [3, 5]}, "flops", "kernels [3, 5, 7], where [3, 5] is wanted"),
        ({"_width_mult": 0.5}, "flops", "width_scale 0.25, where 0.5 is wanted"),
        ({}, "parameters", "cost flops, where parameters is wanted"),
    ],
)
def test_a_filter_of_other_paths_is_refused(tmp_path, changed, cost, message):
    case = Case("ofa_mbv3", tmp_path)
    other = type("Other", (MobileNet,), changed)()
    with pytest.raises(WeightsError) as caught:
        guide(other, host_cost("ofa_mbv3", other, cost, (64, 64)), rng=np.random.default_rng(0), **case.files)
    assert message in str(caught.value)
    assert other.set == []


def test_a_pruned_space_of_other_paths_is_refused(tmp_path):
    case = Case("ofa_mbv3", tmp_path)
    foreign = host_space("ofa_mbv3", type("Other", (MobileNet,), {"_ks_list": [3, 5]})())
    (tmp_path / FILES["pruned_space"]).write_text(json.dumps(foreign.to_dict()))
    with pytest.raises(WeightsError, match=r"the described space is another one: kernels is \[3, 5\], not \[3, 5, 7\]"):
        case.draws(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path_filter": "nowhere.h5"}, "guide.path_filter is 'nowhere.h5'; it must be the name of a file that is"),
        ({"pruned_space": 3}, "guide.pruned_space is 3; it must be the name of a file that is there, or null"),
        ({"path_ratio": 1}, "guide.path_ratio is 1"),
        ({"sampler": "gene"}, "'gene'; known: balanced, genes, uniform (did you mean 'genes'?)"),
        ({"ratio": 0.3}, "unknown key in guide: 'ratio'"),
    ],
)
def test_wrong_options_are_said(tmp_path, options, message):
    with pytest.raises(ConfigError) as caught:
        Case("ofa_mbv3", tmp_path).draws(1, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("switch", ["compound", "fixed_kernel"])
def test_tied_genes_are_refused(switch):
    with pytest.raises(ConfigError, match=f"ofa_mbv3.{switch} is True; it must be false: guided draws take each gene"):
        host_space("ofa_mbv3", type("Tied", (MobileNet,), {f"_{switch}": True})())


def test_a_network_without_the_hosts_protocol_is_refused():
    with pytest.raises(HostError, match="draws of ofa_mbv3 cannot be guided: test_guided_sampling is not the host's"):
        host_space("ofa_mbv3", Network())


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_of_the_host_names_it(name, tmp_path, monkeypatch):
    """By what the host's launcher does with a name, relative to the folder where it is started."""
    nnabla_detofa.register()
    from nnabla_nas import contrib

    case = Case(name, tmp_path)
    own = type("own", (), {"SearchNet": HOSTS[name], "TrainNet": HOSTS[name]})
    monkeypatch.setattr(contrib, name, own, raising=False)
    monkeypatch.chdir(tmp_path)
    module = contrib.__dict__[f"guided_{name}"]
    network = module.SearchNet(num_classes=10, guide={**FILES, "image_size": 64, "seed": 3})
    assert network.given == {"num_classes": 10}
    drawn = [case.space.from_genotype(network.sample_active_subnet()) for _ in range(20)]
    assert np.array_equal(drawn, case.draws(20, seed=3))
    assert module.TrainNet(num_classes=10, guide=FILES).given == {"num_classes": 10}


def test_a_host_that_lacks_the_network_is_said(tmp_path, monkeypatch):
    nnabla_detofa.register()
    from nnabla_nas import contrib

    Case("ofa_mbv3", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contrib, "ofa_mbv3", MissingModule("networks.ofa_mbv3"))
    with pytest.raises(HostError, match="networks.ofa_mbv3.SearchNet is not available"):
        contrib.__dict__["guided_ofa_mbv3"].SearchNet(guide=FILES)


@pytest.mark.parametrize(("given", "message"), [(None, "keys and their values"), ({}, "guide lacks path_filter")])
def test_a_configuration_has_to_say_by_what(given, message):
    nnabla_detofa.register()
    from nnabla_nas import contrib

    with pytest.raises(ConfigError) as caught:
        contrib.__dict__["guided_ofa_mbv3"].SearchNet(guide=given)
    assert message in str(caught.value) and "network.guided_ofa_mbv3.guide" in str(caught.value)


def test_the_documented_options_are_those_there_are():
    text = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
    (given,) = yaml.safe_load(re.search(r"```yaml\n(network:.*?)```", text, re.DOTALL)[1])["network"].values()
    assert given["guide"].keys() <= HostGuideOptions.model_fields.keys()
    assert {given["guide"][key] for key in FILES} == {f"RUN/{file}" for file in FILES.values()}
