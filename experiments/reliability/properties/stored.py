"""Files that a run stores and reads again, damaged or made by others: tables, JSON, weights, filters, checkpoints."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import nnabla.solvers as S  # noqa: N812
import numpy as np
from hypothesis import strategies as st

from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.space import TokenLayout
from nnabla_detofa.storage import Kept, Stages
from nnabla_detofa.storage.files import SUMS, read_json
from nnabla_detofa.storage.tables import PathTable, read_column
from nnabla_detofa.supernet import NETWORKS, Supernet, load_weights, transfer_weights, weights_as_bytes
from nnabla_detofa.training.checkpoint import SOLVER, STATE, Checkpoints
from nnabla_detofa.training.solver_state import load_solver, solver_as_bytes

from .answers import Property, answer
from .images import write
from .mutations import EDGES, ODD_TEXTS, edited, mutated, odd_values

SPACE = {"width_scale": 0.0625, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0], "widths": [1.0]}
LAYOUT = TokenLayout(4, [0, 1], [0, 1])


@cache
def network() -> Supernet:
    """A supernet as small as one can be."""
    return NETWORKS["ofa_resnet50_centernet"].SearchNet(2, space=SPACE, neck=[8, 8], head=8, stem_pool=False)


@cache
def solver() -> Any:
    """Adam on the network's parameters, after no update."""
    made = S.Adam()
    made.set_parameters(network().get_parameters(grad_only=True))
    return made


# -- HDF5 --------------------------------------------------------------------------------------------------------------

ODD_ARRAYS: list[Callable[[h5py.File, str], object]] = [
    lambda file, name: file.create_dataset(name, shape=(10**12,), dtype="f4"),
    lambda file, name: file.create_dataset(name, shape=(10**9, 10**9), dtype="f8", chunks=(1024, 1024)),
    lambda file, name: file.create_dataset(name, data=np.zeros(10**6, np.float32), compression="gzip"),
    lambda file, name: file.create_dataset(name, shape=(9,), dtype="f4", external=[("/etc/passwd", 0, 36)]),
    lambda file, name: file.__setitem__(name, h5py.SoftLink("/nowhere")),
    lambda file, name: file.__setitem__(name, h5py.SoftLink("/")),
    lambda file, name: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/x")),
    lambda file, name: file.__setitem__(name, file["/"]),
    lambda file, name: file.__setitem__(name, "text"),
    lambda file, name: file.__setitem__(name, np.float64(3)),
    lambda file, name: file.__setitem__(name, np.zeros((2, 0), np.float32)),
    lambda file, name: file.__setitem__(name, np.zeros(3, [("a", "f4"), ("b", "S3")])),
    lambda file, name: file.__setitem__(name, np.full(3, np.nan, np.float32)),
    lambda file, name: file.__setitem__(name, h5py.Empty("f4")),
    lambda file, name: file.create_group(name),
]


@st.composite
def rebuilt(draw: Any, valid: bytes, headers: st.SearchStrategy[bytes] | None = None) -> bytes:
    """An HDF5 file with odd things in place of some arrays, and another header."""
    content = BytesIO(valid)
    with h5py.File(content, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for _ in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from([*names, "more", "weights/more"]))
            if name in file:
                del file[name]
            if draw(st.booleans()):
                draw(st.sampled_from(ODD_ARRAYS))(file, name)
        if headers is not None:
            file.attrs["header"] = draw(headers)
        elif draw(st.integers(0, 3)) == 0:
            file.attrs["stem_activation"] = draw(st.sampled_from(["", "relu", 3, np.zeros(3), h5py.Empty("f4")]))
    return content.getvalue()


@cache
def filter_file() -> bytes:
    """A small path filter."""
    made = PathFilter(LAYOUT, 2, rng=np.random.default_rng(0), dim=4, heads=2, layers=1, hidden=4)
    with TemporaryDirectory() as place:
        made.save(Path(place) / "filter.h5")
        return (Path(place) / "filter.h5").read_bytes()


def filter_headers() -> st.SearchStrategy[bytes]:
    """The header after some edits."""
    with h5py.File(BytesIO(filter_file()), "r") as source:
        header = json.loads(source.attrs["header"])
    sizes = st.sampled_from([0, -1, 3, 5, 2**20, 2**31, 2**63, True, 4.0, "4", None])
    keys = st.sampled_from([*header["design"]])
    resized = st.builds(lambda key, size: header | {"design": header["design"] | {key: size}}, keys, sizes)
    texts = st.one_of(edited(header), resized, st.just(header)).map(json.dumps)
    return texts.map(lambda text: text.encode()[:60_000])


def load_filter(content: bytes, folder: Path) -> str:
    """Loaded, it scores."""
    file = write(folder / "filter.h5", content)

    def load() -> None:
        path_filter = PathFilter.load(file)
        length = len(path_filter.layout.layer)
        assert path_filter.score(np.zeros((1, length), int), np.zeros(1, int)).shape == (1,)

    return answer(load)


def load_network(content: bytes, folder: Path) -> str:
    """Whole, or as the start of another network."""
    file = write(folder / "weights.h5", content)
    said = answer(lambda: load_weights(network(), file))
    answer(lambda: transfer_weights(network(), file))
    assert all(np.isfinite(one.d).all() for one in network().get_parameters(grad_only=False).values())
    return said


def load_states(content: bytes, folder: Path) -> str:
    """The solver goes on."""
    file = write(folder / "checkpoint" / "000000001" / SOLVER, content)
    return answer(lambda: load_solver(solver(), file))


# -- checkpoints and other files of a run ------------------------------------------------------------------------------


@cache
def checkpoint() -> dict[str, bytes]:
    """The files of one, with their checksums."""
    with TemporaryDirectory() as place:
        kept = Checkpoints(Path(place) / "checkpoint", lambda _: None, "digest")
        kept.save(1, {"generators": {"a": 3}, "epoch": 1}, network=network(), solver=solver())
        return {file.name: file.read_bytes() for file in (Path(place) / "checkpoint" / "000000001").iterdir()}


@st.composite
def checkpoints(draw: Any) -> dict[str, bytes]:
    """One with a damaged, missing or replaced file; now and then with checksums that fit the damage."""
    contents = dict(checkpoint())
    name = draw(st.sampled_from(sorted(contents)))
    if draw(st.booleans()):
        contents[name] = draw(mutated([contents[name]]))
    elif name == STATE:
        contents[name] = json.dumps(draw(edited(json.loads(contents[STATE])))).encode()
    else:
        del contents[name]
    if draw(st.booleans()):
        sums = {one: hashlib.sha256(content).hexdigest() for one, content in contents.items() if one != SUMS}
        contents[SUMS] = json.dumps(sums).encode()
    return contents


def load_checkpoint(contents: dict[str, bytes], folder: Path) -> str:
    """Loaded or refused."""
    place = folder / "checkpoint" / "000000001"
    place.mkdir(parents=True, exist_ok=True)
    for file in place.iterdir():
        file.unlink()
    for name, content in contents.items():
        write(place / name, content)
    kept = Checkpoints(folder / "checkpoint", lambda _: None, "digest")
    return answer(lambda: kept.load(network=network(), solver=solver()))


GENES = ["stem", "depth1", "width1"]
TABLE = "bucket,flops,loss,stem,depth1,width1\n0,1000,1.5,0,1,2\n1,2000,1.25,1,-1,0\n1,3000,0.75,1,0,0\n"
CELLS = st.one_of(st.sampled_from([*ODD_TEXTS, '"', '"a\nb"', "1e400", "3.7", "-1", "128"]), st.floats().map(repr))


@st.composite
def tables(draw: Any) -> bytes:
    """A table with some odd cells."""
    rows = [line.split(",") for line in TABLE.splitlines()]
    for _ in range(draw(st.integers(0, 2))):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(CELLS)
    return ("\n".join(map(",".join, rows)) + "\n").encode("utf-8", "surrogatepass")


def read_table(content: bytes, folder: Path) -> str:
    """Paths and finite numbers; a column of any table."""
    file = write(folder / "paths.csv", content)

    def read() -> None:
        measured = PathTable(file, GENES).read()
        for column in (measured.flops, measured.bucket, measured.loss):
            assert np.isfinite(column).all()
        assert measured.paths.shape == (len(measured.loss), len(GENES))

    said = answer(read)
    answer(lambda: read_column(file, "loss"))
    return said


STAGE = {"digest": "d", "inputs": {"seed": 0}, "files": ["a.csv"], "after": [], "seconds": 1.5, "done": True}
MANIFEST = {"warmup": STAGE, "next": {**STAGE, "files": ["b.csv"], "after": ["warmup"]}}


def manifests() -> st.SearchStrategy[bytes]:
    """A record of stages after some edits of its values or bytes."""
    valid = json.dumps(MANIFEST).encode()
    odd = [valid, b"[" * 100_000, b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}", *EDGES]
    return st.one_of(edited(MANIFEST).map(lambda value: json.dumps(value).encode()), mutated(odd))


def run_stages(content: bytes, folder: Path) -> str:
    """Two stages in a folder whose record is damaged."""
    for file in [*folder.rglob("*")]:
        if file.is_file():
            file.unlink()
    write(folder / "run" / "stages.json", content)
    write(folder / "outside.csv", "1")

    def run() -> None:
        kept = Stages(folder / "run", say=lambda _: None)
        for stage, name in (("warmup", "a.csv"), ("next", "b.csv")):
            kept.run(stage, {"seed": 0}, Kept([name], lambda: None), (folder / "run" / name).touch)
        assert all(seconds >= 0 for seconds in kept.seconds.values())

    said = answer(run)
    assert (folder / "outside.csv").exists()
    return said


def read_any(content: bytes, folder: Path) -> str:
    """Any JSON file of a run."""
    return answer(lambda: read_json(write(folder / "any.json", content)))


def hdf5(valid: Callable[[], bytes], headers: Callable | None = None) -> st.SearchStrategy[bytes]:
    """Damaged bytes, or odd contents; made when the first example is asked for."""
    return st.deferred(lambda: st.one_of(mutated([valid()]), rebuilt(valid(), headers() if headers else None)))


PROPERTIES = {
    "path_table": Property(st.one_of(tables(), mutated([TABLE.encode()])), read_table),
    "run_folder": Property(manifests(), run_stages),
    "json": Property(st.one_of(odd_values().map(lambda value: json.dumps(value).encode()), manifests()), read_any),
    "path_filter": Property(hdf5(filter_file, filter_headers), load_filter),
    "weights": Property(hdf5(lambda: weights_as_bytes(network())), load_network),
    "solver_state": Property(hdf5(lambda: solver_as_bytes(solver())), load_states),
    "checkpoint": Property(checkpoints(), load_checkpoint),
}
