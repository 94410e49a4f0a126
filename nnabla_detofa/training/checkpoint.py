"""Checkpoints of a training stage: all that decides its future, the last two of them kept.

`checkpoint_<stage>/<step>/` holds the weights with the running BN statistics, the solver's state, the sums of weights
that are averaged, and as JSON what the trainer hands in: generators, queues, the loader's position, sums of the
unfinished epoch. It is written beside, flushed and renamed into place; its checksums tell later whether it is whole.
"""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import RunFolderError
from ..storage.files import damage, read_json, write_folder
from ..supernet import load_weights, weights_as_bytes
from .solver_state import load_solver, solver_as_bytes
from .weight_average import WeightAverage

WEIGHTS, SOLVER, STATE, AVERAGE = "weights.h5", "solver.h5", "state.json", "average.h5"
KEPT = 2
PACKAGES = ("nnabla-detofa", "nnabla", "numpy")  # another release of one may change the last digits


class Checkpoints(NamedTuple):
    """Those of one stage.

    Args:
        folder: `checkpoint_<stage>`.
        say: takes a line for the user.
        digest: of the settings of this stage and all before it: a checkpoint of others is refused. None takes any.
        average: of the weights, where the stage has one: saved, and restored, with the rest.
    """

    folder: Path
    say: Callable[[str], None]
    digest: str | None = None
    average: WeightAverage | None = None

    @property
    def _files(self) -> tuple[str, ...]:
        return (WEIGHTS, SOLVER, STATE) if self.average is None else (WEIGHTS, SOLVER, STATE, AVERAGE)

    def save(self, step: int, state: dict[str, Any], *, network, solver) -> None:
        """Write the checkpoint of a step, and remove all but the last two whole ones.

        RunFolderError where the disk refuses; those before are as they were.
        """
        place = self._place(step)
        if place.exists() or place.is_symlink():
            if damage(place, self._files) is None:  # a step has but one state
                return
            _remove(place)
        record = {"step": step, "digest": self.digest, "versions": _versions(), **state}
        averaged = {} if self.average is None else {AVERAGE: self.average.as_bytes()}
        write_folder(place, {**as_contents(network, solver, record), **averaged})
        places = self._places()
        kept = [one for one in places if one <= place][:KEPT]  # a later one is damaged, or it had been used
        for one in places:
            if one not in kept:
                _remove(one)

    def load(self, *, network, solver, step: int | None = None) -> dict[str, Any] | None:
        """Restore network and solver from the last whole checkpoint, or from that of a `step`, and return its state;
        None where none is there.

        RunFolderError where none of them is whole, or it belongs to other settings.
        """
        state = self.read(step)
        if state is not None:
            place = self._place(state["step"])
            load_weights(network, place / WEIGHTS)
            load_solver(solver, place / SOLVER)
            if self.average is not None:
                self.average.load(place / AVERAGE, network.get_parameters())
        return state

    def read(self, step: int | None = None) -> dict[str, Any] | None:
        """The state alone, as `load` returns it."""
        places = self._places() if step is None else [self._place(step)]
        for place, before in zip(places, [*places[1:], None], strict=False):
            damaged = damage(place, self._files)
            if damaged is None:
                return self._state(place)
            if before is None:
                raise RunFolderError(
                    f"{place} is damaged ({damaged}) and there is none before it;"
                    f" delete {self.folder} to train this stage anew"
                )
            self.say(f"{place} is damaged ({damaged}); going on from the one before it, {before.name}")
        return None

    def _place(self, step: int) -> Path:
        return self.folder / f"{step:09d}"

    def _places(self) -> list[Path]:
        """The checkpoints, damaged or not, the last one first."""
        return sorted((one for one in self.folder.glob("*") if one.name.isdecimal()), reverse=True)

    def _state(self, place: Path) -> dict[str, Any]:
        state = read_json(place / STATE)
        if not isinstance(state, dict) or state.get("step") != int(place.name):
            raise RunFolderError(f"{place / STATE} is no checkpoint's; delete {self.folder} to train this stage anew")
        if self.digest not in (None, state.get("digest")):
            raise RunFolderError(
                f"{place} was made under other settings than this stage's;"
                f" delete {self.folder} to train this stage anew"
            )
        if state.get("versions") != _versions():
            self.say(f"{place} was made by {state.get('versions')}, this is {_versions()}: last digits may differ")
        return state


def as_contents(network, solver, state: dict[str, Any]) -> dict[str, bytes]:
    """The files of a checkpoint by name."""
    record = json.dumps(state, allow_nan=False).encode()
    return {WEIGHTS: weights_as_bytes(network), SOLVER: solver_as_bytes(solver), STATE: record}


def lost_parameter(network) -> str | None:
    """The first parameter that is not finite, if there is one."""
    return next((name for name, p in network.get_parameters().items() if not np.isfinite(p.d).all()), None)


def _remove(place: Path) -> None:
    """A checkpoint, or what somebody has put in its place."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def _versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}
