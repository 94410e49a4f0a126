"""NNablaNAS' own launcher on configurations of ours: `python -m nnabla_detofa.launch main.py --config-name NAME …`.

To be started in a checkout of sony/nnabla-nas, whose `main.py` it runs once our parts are registered; the shipped
configurations are added to its own unless --config-dir names others.
"""

import runpy
import sys
import traceback
from importlib.resources import files
from pathlib import Path

from .. import processes
from ..errors import ConfigError
from ..host.cuda_libraries import loaded
from .overrides import options_first
from .plugin import register


def start(arguments: list[str]) -> None:
    """Run the host's script, which comes first, with the other arguments, which are Hydra's."""
    if not arguments or not Path(arguments[0]).is_file():
        sys.exit("usage, in a checkout of sony/nnabla-nas: python -m nnabla_detofa.launch main.py --config-name NAME")
    register()
    try:
        options, overrides = options_first(arguments[1:])
    except ConfigError as error:
        sys.exit(str(error))
    given = any(one.partition("=")[0] in ("--config-dir", "-cd") for one in options)
    own = [] if given else ["--config-dir", str(files("nnabla_detofa.conf"))]
    sys.argv = [arguments[0], *own, *options, *overrides]
    try:
        with loaded():  # it imports the CUDA extension
            runpy.run_path(arguments[0], run_name="__main__")
    except Exception:
        if processes.started() > 1:  # the others would wait for this one
            traceback.print_exc()
            processes.end_all(1)
        raise


if __name__ == "__main__":
    start(sys.argv[1:])
