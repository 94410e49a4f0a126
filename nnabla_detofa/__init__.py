"""DetOFA for NNablaNAS: one training run, a Pareto front of CenterNet detectors."""

__version__ = "0.1.0"


def register() -> None:
    """Make our network, runner and data sets known to nnabla_nas; idempotent.

    Raises HostError where one of the names belongs to someone else. nnabla is imported here, and not before.
    """
    from .host.plugin import register as register_all

    register_all()
