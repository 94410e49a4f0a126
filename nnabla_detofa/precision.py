"""Single precision where half is the default: losses, normalisation, fits and sums (an addition; not in the paper).

NNabla computes a function in the precision of the context that it was made in, and casts what it is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import nnabla as nn


def single(context: nn.Context) -> nn.Context:
    """The same device in single precision: `half` and `mixed_half` end its backends' names."""
    backend = [name for name in context.backend if not name.endswith("half")]
    return nn.Context(backend, context.array_class, context.device_id)


@contextmanager
def single_precision() -> Iterator[None]:
    """Functions and solvers that are made inside compute in single precision, on the device of the current context."""
    with nn.context_scope(single(nn.get_current_context())):
        yield
