"""The PyTorch original's half of `experiments/mit_weights.py`: a checkpoint of random weights and what it computes.

    .venv-peers/bin/python -m experiments.benchmarks.peers.ofa_logits FOLDER FAMILY

FOLDER holds genotypes.json, images.npy and costed.json, genotypes whose FLOPs at 224 px are asked for. Leaves
checkpoint.pth, the checkpoint as our converter reads it in state.npz, the logits of each genotype in logits.npy, and
the FLOPs by the original's own model in flops.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from nnabla_detofa.convert_mit import read_checkpoint

from .ofa_tasks import NETWORKS


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """The network with scales, shifts and running statistics that differ in every channel, and with kernel transforms
    that are no identities, for inference."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.running_var.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.3)
            layer.running_mean.normal_(0, 0.3)
    for name, parameter in network.named_parameters():
        if name.endswith("_matrix"):
            parameter.data += 0.2 * torch.randn_like(parameter)
    return network.eval()


def main(folder: Path, family: str) -> None:
    torch.manual_seed(0)
    build, flops_model = NETWORKS[family]
    network = awake(build())
    torch.save({"state_dict": network.state_dict()}, folder / "checkpoint.pth")
    np.savez(folder / "state.npz", **read_checkpoint(folder / "checkpoint.pth"))
    images, logits = torch.from_numpy(np.load(folder / "images.npy")), []
    with torch.no_grad():
        for genotype in json.loads((folder / "genotypes.json").read_text()):
            network.set_active_subnet(**genotype)
            logits.append(network(images).numpy())
    np.save(folder / "logits.npy", logits)
    costs, costed = flops_model(network), json.loads((folder / "costed.json").read_text())
    found = [round(1e6 * costs.get_efficiency({**one, "r": [224], "image_size": 224})) for one in costed]
    (folder / "flops.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
