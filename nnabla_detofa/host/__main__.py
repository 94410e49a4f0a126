"""NNablaNAS' own launcher on configurations of ours: `python -m nnabla_detofa.host main.py --config-name NAME …`.

To be started in a checkout of sony/nnabla-nas, whose `main.py` it runs once our parts are registered; the shipped
configurations are added to its own unless --config-dir names others.
"""

import runpy
import sys
from importlib.resources import files
from pathlib import Path

from .plugin import register


def main(script: str, *arguments: str) -> None:
    """Run the host's script with these arguments of Hydra."""
    register()
    given = any(one.partition("=")[0] in ("--config-dir", "-cd") for one in arguments)
    own = [] if given else ["--config-dir", str(files("nnabla_detofa.conf"))]
    sys.argv = [script, *own, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage, in a checkout of sony/nnabla-nas: python -m nnabla_detofa.host main.py --config-name NAME")
    main(*sys.argv[1:])
