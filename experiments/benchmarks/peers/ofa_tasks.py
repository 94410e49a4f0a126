"""The PyTorch original, the package `ofa`: a training step, FLOPs, evolutionary search. For the peers' environment."""

import random
import sys
from unittest.mock import MagicMock

import numpy as np
import torch

for name in (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.datasets",
    "PIL",
):
    sys.modules[name] = MagicMock()  # imported by `ofa` for its data loaders, which nothing here uses
sys.modules["torchvision.transforms"].RandomResizedCrop = sys.modules["torchvision.transforms"].Resize = object
sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]

from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAResNets  # noqa: E402
from ofa.nas.accuracy_predictor import AccuracyPredictor, MobileNetArchEncoder, ResNetArchEncoder  # noqa: E402
from ofa.nas.efficiency_predictor import Mbv3FLOPsModel, ResNet50FLOPsModel  # noqa: E402
from ofa.nas.search_algorithm import EvolutionFinder  # noqa: E402


def supernet() -> OFAResNets:
    return OFAResNets(depth_list=[0, 1, 2], expand_ratio_list=[0.2, 0.25, 0.35], width_mult_list=[0.65, 0.8, 1.0])


def mobile(width: float = 1.0) -> OFAMobileNetV3:
    return OFAMobileNetV3(width_mult=width, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])


NETWORKS = {"ofa_resnet50": (supernet, ResNet50FLOPsModel), "ofa_mbv3": (mobile, Mbv3FLOPsModel)}
ENCODERS = {"ofa_resnet50": ResNetArchEncoder, "ofa_mbv3": MobileNetArchEncoder}


def backbone(size: int, genotypes: list[dict], batch: int = 8, threads: int = 2):
    """Forward and backward of one path a call, without pooling and classifier."""
    torch.set_num_threads(threads)
    network = supernet().train()
    network.global_avg_pool = network.classifier = torch.nn.Identity()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator)
    turn = 0

    def step() -> None:
        nonlocal turn
        network.set_active_subnet(**genotypes[turn % len(genotypes)])
        turn += 1
        network.zero_grad()
        maps = network(images)
        noise = torch.randn(maps.shape, generator=generator)  # a plain mean has no gradient behind a normalisation
        (maps * noise).mean().backward()

    return step


def flops(n: int, size: int = 224, threads: int = 1, family: str = "ofa_resnet50"):
    """The cost of n random paths, one after the other, as the original does."""
    torch.set_num_threads(threads)
    random.seed(0)
    (build, costs), encoder = NETWORKS[family], ENCODERS[family](image_size_list=[size])
    model = costs(build())
    paths = [encoder.random_sample_arch() for _ in range(n)]

    def look_up() -> int:
        for path in paths:
            model.get_efficiency(path)
        return n

    return look_up


def search(limit: float, generations: int, size: int = 224, threads: int = 2):
    """Evolution under one budget (MMACs) with a predictor of random weights; returns the generations run."""
    torch.set_num_threads(threads)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the original draws from the global generator
    torch.manual_seed(0)
    encoder = ResNetArchEncoder(image_size_list=[size])
    predictor = AccuracyPredictor(encoder, device="cpu")
    finder = EvolutionFinder(ResNet50FLOPsModel(supernet()), predictor, max_time_budget=generations)

    def evolve() -> int:
        with torch.no_grad():
            finder.run_evolution_search(limit)
        return generations

    return evolve
