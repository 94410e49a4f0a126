"""Checks on a real SLURM, which is started for them and ended behind them.

    python -m experiments.cluster [--quick] [--where-possible]

Exit code 0 where all is well, 1 where a check has failed, 2 where there can be no SLURM; with --where-possible 0 there.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .checks import ALL, QUICK, Cluster, run_checks
from .one_node import NoSlurmError, OneNode, install


def main() -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="srun, and a job that is queued again")
    parser.add_argument("--where-possible", action="store_true", help="exit code 0 where there can be no SLURM")
    parser.add_argument("--patience", type=float, default=900, help="seconds that one wait of a check may take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-") as place:
        start = Path(place) / "start"
        start.mkdir()
        since = time.monotonic()
        try:
            install()
            with OneNode(Path(place) / "slurm") as node:
                print(f"SLURM is up after {time.monotonic() - since:.1f} s", flush=True)
                cluster = Cluster(node, start, patience=options.patience)
                return 0 if run_checks(cluster, QUICK if options.quick else ALL) else 1
        except NoSlurmError as error:
            print(f"not run: no SLURM can be here: {error}")
            return 0 if options.where_possible else 2


if __name__ == "__main__":
    sys.exit(main())
