"""MIT's OFA networks with random weights, converted: the same logits for random paths, or the largest difference.

    OMP_NUM_THREADS=1 python -m experiments.mit_weights [--family ofa_mbv3]

FLOPs of random paths are compared with those that the original counts, at 224 px.
Runs the package `ofa` in `.venv-peers`, which `make bench` builds, since PyTorch and NNabla live in environments of
their own; state.npz carries over what `convert_mit` read there.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import nnabla as nn
import numpy as np

from nnabla_detofa.space import ClassifierLayers, CostModel, SearchSpace
from nnabla_detofa.supernet import NETWORKS, write_mit_weights
from nnabla_detofa.supernet.networks import FAMILIES

REPOSITORY = Path(__file__).parent.parent
PEERS = REPOSITORY / ".venv-peers" / "bin" / "python"


def theirs(
    folder: Path, family: str, space: SearchSpace, paths: np.ndarray, images: np.ndarray, costed: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """Logits (paths, images, classes) of the original, and FLOPs of the `costed` paths; its checkpoint stays in the
    folder."""
    np.save(folder / "images.npy", images)
    for name, some in (("genotypes", paths), ("costed", costed)):
        (folder / f"{name}.json").write_text(json.dumps([space.genotype(path) for path in some]))
    command = [PEERS, "-m", "experiments.benchmarks.peers.ofa_logits", folder, family]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return np.load(folder / "logits.npy"), json.loads((folder / "flops.json").read_text())


def ours(file: Path, family: str, paths: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, str]:
    """Logits (paths, images, classes) of our classification supernet with the weights in `file`; what was loaded."""
    stem = {"stem_activation": "relu"} if family == "ofa_resnet50" else {}
    network = NETWORKS[f"{family}_classifier"].SearchNet(1000, pretrained=str(file), **stem)
    network.apply(training=False)
    logits = []
    for path in paths:
        network.activate(path)
        y = network(nn.Variable.from_numpy_array(images))
        y.forward(clear_buffer=True)
        logits.append(y.d.copy())
    return np.array(logits), str(network.transfer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, default="ofa_resnet50")
    parser.add_argument("--paths", type=int, default=20)
    parser.add_argument("--costed", type=int, default=100, help="paths whose FLOPs are compared")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--size", type=int, default=96, help="side of the images, in pixels")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    space = FAMILIES[options.family][options.family]()
    paths = np.stack([space.smallest(), space.largest(), *space.sample(options.paths, rng)])
    images = rng.standard_normal((options.images, 3, options.size, options.size)).astype(np.float32)
    costed = space.sample(options.costed, rng)
    flops = CostModel.of(ClassifierLayers(space, image_size=224, n_classes=1000), "flops")(costed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected, counted = theirs(folder, options.family, space, paths, images, costed)
        with np.load(folder / "state.npz") as state:
            print(f"{write_mit_weights(state, folder / 'mit.h5')} parameters of {len(state)} entries")
        found, transfer = ours(folder / "mit.h5", options.family, paths, images)
    print(transfer)
    spread = expected.std(axis=(1, 2))
    difference = np.abs(found - expected).max(axis=(1, 2))
    print(f"{len(paths)} paths (smallest, largest, {options.paths} random), {len(images)} images of {options.size} px")
    print(f"logits: standard deviation {spread.min():.3g} to {spread.max():.3g} by path")
    print(f"largest difference: {difference.max():.3g}, {(difference / spread).max():.2g} of that path's deviation")
    classes = found.argmax(axis=2) == expected.argmax(axis=2)
    print(f"the same class is largest in {classes.mean():.1%}")
    print(f"FLOPs at 224 px: {(flops == np.array(counted)).sum()} of {len(costed)} random paths' are the original's")


if __name__ == "__main__":
    main()
