"""The command's former place, which installed scripts and `python -m nnabla_detofa.cli` start (not in the paper)."""

import sys

from .launch.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
