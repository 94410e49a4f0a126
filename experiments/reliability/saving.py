"""What a checkpoint of the full-size VOC supernet costs: seconds, bytes, and the share of the time between two.

python -m experiments.reliability.saving [--saves 5] [--folder .]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import nnabla.solvers as S  # noqa: N812
import numpy as np

from nnabla_detofa.storage.files import damage
from nnabla_detofa.supernet import NETWORKS
from nnabla_detofa.training.checkpoint import Checkpoints, lost_parameter

EPOCH = (0.800 - 0.414) * 86_400 / 70  # seconds on a V100: Table 3, without measuring paths
PERIOD = 600  # args.checkpoint_minutes


def main() -> None:
    parser = argparse.ArgumentParser(prog="saving", description=__doc__.splitlines()[0])
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk that is asked about; a temporary one unless given")
    options = parser.parse_args()
    network, solver = NETWORKS["ofa_resnet50_centernet"].SearchNet(20), S.Adam(1.25e-4)
    solver.set_parameters(network.get_parameters(grad_only=True))
    for parameter in network.get_parameters(grad_only=True).values():
        parameter.g = 1.0
    solver.update()
    state = {"sampler": {"queue": np.zeros((256, 29), int).tolist()}, "losses": {}}
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        checkpoints = Checkpoints(Path(place) / "checkpoint_warmup", print)
        saves = [
            seconds(lambda step=step: save(checkpoints, step, state, network, solver)) for step in range(options.saves)
        ]
        last = max(checkpoints.folder.iterdir())
        size = sum(file.stat().st_size for file in last.iterdir())
        loads = [seconds(lambda: checkpoints.load(network=network, solver=solver)) for _ in range(options.saves)]
        assert damage(last, ("weights.h5", "solver.h5", "state.json")) is None
    one, n = statistics.median(saves), sum(p.d.size for p in network.get_parameters().values())
    print(f"{n / 1e6:.1f} million parameters, {size / 1e6:.0f} MB a checkpoint")
    print(f"save {one:.2f} s (median of {len(saves)}: {min(saves):.2f}–{max(saves):.2f})")
    print(f"load {statistics.median(loads):.2f} s")
    print(f"share of an epoch of {EPOCH:.0f} s: {one / EPOCH:.2%}; of {PERIOD} s: {one / PERIOD:.2%}")


def save(checkpoints, step, state, network, solver) -> None:
    """As the trainer saves, with its look for what is not finite."""
    assert lost_parameter(network) is None
    checkpoints.save(step, state, network=network, solver=solver)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
