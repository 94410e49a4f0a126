"""The state of a solver as HDF5, in NNabla's layout: `<parameter>/<name>` and the number of its updates, `/t`."""

from pathlib import Path

from ..errors import RunFolderError
from ..hdf5 import as_bytes, opened, read_arrays


def solver_as_bytes(solver) -> bytes:
    """The content of the file."""
    arrays = {}
    for name, state in solver.get_states().items():
        arrays[f"{name}/t"] = state.t
        arrays.update({f"{name}/{key}": value.d for key, value in state.pstate.items()})
    return as_bytes(arrays)


def load_solver(solver, file: Path) -> None:
    """Restore what `solver_as_bytes` gave to a solver of the same parameters; RunFolderError for any other."""
    states = solver.get_states()

    def refuse(reason: str) -> RunFolderError:
        return RunFolderError(
            f"{file} is not the state of this solver ({reason}); delete {file.parent.parent} to train this stage anew"
        )

    with opened(file, refuse) as source:
        stored = read_arrays(source)
        for name, state in states.items():
            state.t = int(stored[f"{name}/t"])
            for key, value in state.pstate.items():
                if stored[f"{name}/{key}"].shape != value.shape:
                    raise ValueError(f"{name}/{key} is {stored[f'{name}/{key}'].shape}, not {value.shape}")
                value.d = stored[f"{name}/{key}"]
    solver.set_states(states)
