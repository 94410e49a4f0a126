"""Run the comparisons of this folder; `make bench` builds both environments first.

python -m experiments.benchmarks [--quick] [--only ROW …] [--no-growth]
"""

import argparse
import sys
import time

from .growth import CURVES
from .report import state, table, write
from .rows import ROWS, Row


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions: does everything run?")
    parser.add_argument("--no-growth", action="store_true", help="no tables of how our times grow")
    options = parser.parse_args()
    rows: dict[str, Row] = {}
    failed, begin = False, state()
    for name in options.only or ROWS:
        start = time.perf_counter()
        try:
            rows[name] = ROWS[name](options.quick)
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"{table({name: rows[name]})[-1]}  ({time.perf_counter() - start:.0f} s)", flush=True)
    curves = [] if options.only or options.no_growth else [curve(2 if options.quick else 5) for curve in CURVES]
    if options.quick:
        print("quick figures are not kept")
    elif rows:
        print(write(rows, curves, f" ARGS='--only {' '.join(options.only)}'" if options.only else "", start=begin))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
