"""Run the comparisons of this folder; `make bench` builds both environments first.

python -m experiments.benchmarks [--quick] [--only ROW …] [--no-growth]
"""

import argparse
import sys
import time

from .growth import CURVES, Curve
from .report import growth, state, table, write
from .rows import ROWS, Row
from .waiting import WAITING

ALL = {**ROWS, **WAITING, **CURVES}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ALL, metavar="ROW", help=f"of {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions: does everything run?")
    parser.add_argument("--no-growth", action="store_true", help="no tables of how our times grow")
    options = parser.parse_args()
    rows: dict[str, Row] = {}
    curves: dict[str, Curve] = {}
    failed, begin = False, state()
    part = f" ARGS='--only {' '.join(options.only)}'" if options.only else ""
    for name in options.only or [name for name in ALL if not (options.no_growth and name in CURVES)]:
        start = time.perf_counter()
        try:
            if name in CURVES:
                curves[name] = CURVES[name](1 if options.quick else 2)
            else:
                rows[name] = (ROWS | WAITING)[name](options.quick)
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        lines = growth({name: curves[name]})[2:] if name in curves else table({name: rows[name]})[2:]
        print("\n".join(lines) + f"  ({time.perf_counter() - start:.0f} s)", flush=True)
        if not options.quick:  # after every row: half an hour of figures outlives whatever stops the next one
            page = write(rows, curves, part, start=begin)
    print("quick figures are not kept" if options.quick else page if rows or curves else "nothing was measured")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
