"""The host's Runner without its line about a mode that no runner of ours has (an addition; not in the paper)."""

import sys

from nnabla_nas.runner.runner import Runner as HostRunner

from .quiet import quiet


class Runner(HostRunner):
    """The base of our runners; terminal and log hold nothing when it is built."""

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        with quiet():  # "NNABLA_NAS_MIXEDOP_FAST_MODE is disabled": of the host's mixed operations
            super().__init__(model, optimizer, regularizer, dataloader, hparams, args)
        self.monitor.terminal = sys.stdout
        if not self.monitor.quiet:
            self.monitor.file.seek(0)
            self.monitor.file.truncate()
