"""`python -m nnabla_detofa.launch` by its former name (an addition; not in the paper)."""

import sys

from ..launch.__main__ import start

if __name__ == "__main__":
    start(sys.argv[1:])
