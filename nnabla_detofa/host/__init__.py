"""The only room that imports `nnabla_nas`: what the other rooms need of it, repaired (an addition; not in the paper).

Importing this room repairs the host first and registers nothing; `nnabla_detofa.register()` does that.
"""

from .repair import repair

repair()

import nnabla_nas.module as Mo  # noqa: E402, N812
from nnabla_nas.contrib.model import Model  # noqa: E402
from nnabla_nas.optimizer import Optimizer  # noqa: E402
from nnabla_nas.runner.runner import Runner  # noqa: E402

__all__ = ["Mo", "Model", "Optimizer", "Runner", "repair"]
