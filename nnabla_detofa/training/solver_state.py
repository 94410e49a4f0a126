"""The state of a solver as HDF5, in NNabla's layout: `<parameter>/<name>` and the number of its updates, `/t`."""

from io import BytesIO
from pathlib import Path

import h5py

from ..errors import RunFolderError


def solver_as_bytes(solver) -> bytes:
    """The content of the file; made in memory, because HDF5 does not survive a disk that is full."""
    content = BytesIO()
    with h5py.File(content, "w") as out:
        for name, state in solver.get_states().items():
            out[f"{name}/t"] = state.t
            for key, value in state.pstate.items():
                out[f"{name}/{key}"] = value.d
    return content.getvalue()


def load_solver(solver, file: Path) -> None:
    """Restore what `solver_as_bytes` gave to a solver of the same parameters; RunFolderError for any other."""
    states = solver.get_states()
    try:
        with h5py.File(file, "r") as stored:
            for name, state in states.items():
                state.t = int(stored[f"{name}/t"][()])
                for key, value in state.pstate.items():
                    if stored[f"{name}/{key}"].shape != value.shape:  # before it is read: a file may claim any size
                        raise ValueError(f"{name}/{key} is {stored[f'{name}/{key}'].shape}, not {value.shape}")
                    value.d = stored[f"{name}/{key}"][()]
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise RunFolderError(
            f"{file} is not the state of this solver ({error}); delete {file.parent.parent} to train this stage anew"
        ) from error
    solver.set_states(states)
