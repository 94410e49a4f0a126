"""The only room that imports `nnabla_nas`: what the other rooms need of it, repaired (an addition; not in the paper).

Importing this room repairs the host first and registers nothing; `nnabla_detofa.register()` does that.
"""

from .quiet import quiet
from .repair import repair, without_sklearn

with quiet(), without_sklearn():
    repair()
    import nnabla_nas.dataset  # noqa: F401 - for what it takes from scikit-learn
    import nnabla_nas.module as Mo  # noqa: N812
    from nnabla_nas.contrib.model import Model

    from .runner import Runner

__all__ = ["Mo", "Model", "Runner", "repair"]
