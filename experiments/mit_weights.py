"""MIT's OFA-ResNet50 with random weights, converted: the same logits for random paths, or the largest difference.

    OMP_NUM_THREADS=1 python -m experiments.mit_weights

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

from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import NETWORKS, write_mit_weights

REPOSITORY = Path(__file__).parent.parent
PEERS = REPOSITORY / ".venv-peers" / "bin" / "python"


def theirs(folder: Path, space: SearchSpace, paths: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Logits (paths, images, classes) of the original; its checkpoint stays in the folder."""
    np.save(folder / "images.npy", images)
    (folder / "genotypes.json").write_text(json.dumps([space.genotype(path) for path in paths]))
    command = [PEERS, "-m", "experiments.benchmarks.peers.ofa_logits", folder]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return np.load(folder / "logits.npy")


def ours(file: Path, paths: np.ndarray, images: np.ndarray, *, stem_activation: str) -> tuple[np.ndarray, str]:
    """Logits (paths, images, classes) of our classification supernet with the weights in `file`; what was loaded."""
    network = NETWORKS["ofa_resnet50_classifier"].SearchNet(1000, pretrained=str(file), stem_activation=stem_activation)
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
    parser.add_argument("--paths", type=int, default=20)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--size", type=int, default=96, help="side of the images, in pixels")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    space = SearchSpace.ofa_resnet50()
    paths = np.stack([space.smallest(), space.largest(), *space.sample(options.paths, rng)])
    images = rng.standard_normal((options.images, 3, options.size, options.size)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = theirs(folder, space, paths, images)
        with np.load(folder / "state.npz") as state:
            print(f"{write_mit_weights(state, folder / 'mit.h5')} parameters of {len(state)} entries")
        found, transfer = ours(folder / "mit.h5", paths, images, stem_activation="relu")
    print(transfer)
    spread = expected.std(axis=(1, 2))
    difference = np.abs(found - expected).max(axis=(1, 2))
    print(f"{len(paths)} paths (smallest, largest, {options.paths} random), {len(images)} images of {options.size} px")
    print(f"logits: standard deviation {spread.min():.3g} to {spread.max():.3g} by path")
    print(f"largest difference: {difference.max():.3g}, {(difference / spread).max():.2g} of that path's deviation")
    classes = found.argmax(axis=2) == expected.argmax(axis=2)
    print(f"the same class is largest in {classes.mean():.1%}")


if __name__ == "__main__":
    main()
