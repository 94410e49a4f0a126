"""Progressive shrinking (OFA; a baseline of Section 4.2): a training stage a phase, each opening more choices."""

from collections.abc import Mapping

from ..errors import ConfigError
from ..supernet import sort_channels
from .phases import Phase, read_phases
from .runner import SupernetRunner
from .samplers import path_sampler
from .schedule import Schedule


class ShrinkingRunner(SupernetRunner):
    """Trains phase by phase where `hparams.phases` names any.

    Each phase goes through the whole schedule anew, with a fresh solver, from the weights of the phase before it. Where
    it opens smaller numbers of channels, the most important ones are sorted to the front first.
    """

    HPARAMS = (*SupernetRunner.HPARAMS, "phases")
    _phase: Phase | None = None  # which is being trained

    @property
    def phases(self) -> list[Phase]:
        """Those of `hparams.phases`, none where it is null; one without `epochs` is as long as the whole schedule."""
        given, epochs = self.hparams["phases"], self.hparams["warmup"] + self.hparams["finetune"]
        if given is None:
            return []
        if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
            raise ConfigError(f"hparams.phases is {given!r}; it must be null, or phases with their choices")
        return read_phases("hparams.phases", {key: {"epochs": epochs, **one} for key, one in given.items()}, self.space)

    def check_schedule(self) -> None:
        """As the trainer's, and that the phases can follow each other and leave nothing out."""
        super().check_schedule()
        self.require_all_open()

    def require_all_open(self) -> None:
        """ConfigError where the last phase leaves paths untrained."""
        if self.phases and self.phases[-1].space != self.space:
            raise ConfigError(
                f"hparams.phases.{self.phases[-1].name} is the last phase and opens {self.phases[-1].space.size():,} of"
                f" {self.space.size():,} paths; it must open all, for all are searched"
            )

    def shrink(self) -> None:
        """Train all phases."""
        for number, phase in enumerate(self.phases):
            self._phase, name = phase, self.hparams["sampler"]["name"]
            sampler = path_sampler(name, phase.space, self.cost, self.budgets, self.rng(phase.name))
            own = {"phase": self.hparams["phases"][phase.name], "epochs": [phase.first, phase.last]}
            settings = {**({} if number else self.identity), **own, **self.sampler_identity}
            self.train_stage(phase.name, settings, sampler, first=phase.first, last=phase.last)
        self._phase = None

    def weights_file(self, stage: str) -> str | None:
        """As the trainer's; the last phase leaves them."""
        last = self.phases[-1].name if self.phases else None
        return "weights.h5" if stage == last else super().weights_file(stage)

    def begin(self, stage: str) -> None:
        """Sort the channels that a phase opens, and forget the moments of those that were there before."""
        super().begin(stage)
        spaces = {phase.name: phase.space for phase in self.phases}
        if stage in spaces:
            before = [self.space.only(**self._largest), *spaces.values()][list(spaces).index(stage)]
            if n_sorted := sort_channels(self.model, before=before, after=spaces[stage]):
                self.say(f"{stage}: the channels of {n_sorted} maps sorted by importance")
            self.optimizer["train"].set_parameters(self.model.get_parameters(grad_only=True))

    @property
    def _largest(self) -> dict[str, list]:
        structure = self.space.structure
        return {name: [getattr(structure, name)[-1]] for name in ("depths", "widths", "expands")}

    def _schedule(self) -> Schedule:
        rate, phase = super()._schedule(), self._phase
        if phase is None:
            return rate
        total = self.hparams["warmup"] + self.hparams["finetune"]
        return lambda epoch: rate(total * (epoch - phase.first) / (phase.last - phase.first))
