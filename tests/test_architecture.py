"""The rooms import only what they may, in no circle, and the NumPy rooms do without nnabla."""

import ast
import configparser
import graphlib
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "nnabla_detofa"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists())

# What each room may import beside the standard library, itself and errors.py.
GRANTS = {
    "errors signals figure_names": "",
    "compiled": "numba",
    "processes": "mpi4py",
    "threads": "threadpoolctl processes",
    "precision": "nnabla",
    "hdf5": "numpy h5py",
    "options": "pydantic pydantic_core",
    "host": "nnabla nnabla_nas filelock options",
    "host/communicator": "numpy mpi4py nnabla nnabla_nas processes",
    "host/job": "hydra omegaconf",
    "host/gpus": "nnabla_ext processes",
    "host/device_report": "processes threads",
    "space": "numpy options",
    "pruning": "numpy options space",
    "search": "numpy options space",
    "path_filter": "numpy scipy hdf5 threads options space storage",
    "detection": "numpy pycocotools options",
    "segmentation": "numpy cv2 pycocotools",
    "data": "numpy cv2 PIL sklearn tqdm yaml compiled options detection segmentation storage",
    "kernels": "numpy nnabla compiled threads",
    "tasks": "numpy nnabla kernels precision options space detection segmentation",
    "supernet": "numpy nnabla h5py hdf5 pydantic precision options host space kernels tasks storage",
    "convert_mit": "numpy torch supernet",
    "storage": "numpy pydantic",
    "deploy": "numpy cv2 nnabla onnx onnxruntime "
    "data detection figure_names options ranking search_stages segmentation space storage supernet tasks training",
    "run_options": "pydantic options host path_filter pruning search space",
    "training": "numpy nnabla hdf5 tqdm precision signals options host run_options space storage supernet detection",
    "finetuning": "numpy deploy storage training",
    "filter_stages": "numpy path_filter space storage training",
    "guided_sampling": "numpy options path_filter pruning space storage",
    "pruning_stages": "numpy filter_stages pruning space storage training",
    "search_stages": "numpy detection search space storage supernet training",
    "ranking": "search_stages",
    "shrinking": "space supernet training",
    "report": "numpy nnabla cv2 jinja2 matplotlib scipy tensorboard "
    "data detection figure_names options pruning_stages ranking search_stages search segmentation space storage tasks "
    "training",
    "algorithm": "deploy filter_stages finetuning pruning_stages search_stages shrinking report space training",
    "pretraining": "numpy nnabla filter_stages shrinking report space supernet training",
    "searcher": "algorithm pretraining report run_options host search_stages storage threads training",
    "launch": "hydra omegaconf yaml pydantic nnabla signals processes options host run_options data report",
    "launch/detectors": "omegaconf tqdm signals data deploy ranking report storage training",
    "launch/given_detector": "deploy",
    "launch/guided_networks": "numpy hydra nnabla nnabla_nas guided_sampling host options space",
    "launch/keys": "options run_options space",
    "launch/run": "numpy nnabla nnabla_nas host",
    "launch/sweeps": "hydra processes signals submitit",
    "launch/plugin": "nnabla_nas host data supernet searcher",
    "__init__": "deploy launch",
    "cli": "signals launch",
    "host/launch host/__main__": "launch",
}
MAY_IMPORT = {name: set(granted.split()) for names, granted in GRANTS.items() for name in names.split()}
ROOF, ABOVE = {"cli", "launch"}, {"__init__", "cli", "launch", "host/launch", "host/__main__"}  # the last two: shims
NUMPY_ROOMS = {"data", "detection", "options", "path_filter", "pruning", "search", "segmentation", "space", "storage"}
HEAVY = ("nnabla", "nnabla_ext", "nnabla_nas", "hydra", "omegaconf")


def name_of(file: Path) -> str:
    """`space/cost.py` as `space/cost`, a room's `__init__.py` as the room."""
    return file.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


MODULES = {name_of(file): file.read_text() for file in FILES}


def imported(source: str, name: str) -> set[str]:
    """Dotted names of all that `source` of the module `name` imports, wherever in it and for whatever purpose."""
    here = ["nnabla_detofa", *name.split("/"), *(["__init__"] if name in ROOMS else [])]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*(here[: -node.level] if node.level else []), *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def imports(source: str, name: str) -> set[str]:
    """Rooms by name, others by their top-level package; neither the standard library nor the own room."""
    found = imported(source, name)
    inside = {full.split(".")[1] for full in found if full.startswith("nnabla_detofa.")}
    outside = {full.split(".")[0] for full in found} - {"nnabla_detofa"}
    return (inside | outside) - sys.stdlib_module_names - {"errors", name.split("/")[0]}


def not_allowed(source: str, name: str) -> set[str]:
    """Imports that the table does not grant to the module `name`."""
    return imports(source, name) - MAY_IMPORT.get(name, MAY_IMPORT.get(name.split("/")[0], set()))


def modules_imported(source: str, name: str) -> set[str]:
    """Modules of the package that the import of `name` runs: those named, and the rooms on the way to them."""
    found = set()
    for full in imported(source, name):
        parts = full.split(".")[1:] if full.startswith("nnabla_detofa.") else []
        found |= {"/".join(parts[: depth + 1]) for depth in range(len(parts))}
    return found & MODULES.keys() - {name, name.split("/")[0]}


def circle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; empty where there is none."""
    graph = {name: modules_imported(source, name) for name, source in sources.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_imports_follow_the_table():
    found = {name: not_allowed(source, name) for name, source in MODULES.items()}
    assert {name: bad for name, bad in found.items() if bad} == {}


def test_every_grant_is_used():
    unused = {name: set(granted) for name, granted in MAY_IMPORT.items()}
    for name, source in MODULES.items():
        unused[name if name in MAY_IMPORT else name.split("/")[0]] -= imports(source, name)
    assert {name: granted for name, granted in unused.items() if granted} == {}


def test_no_circle_and_nothing_below_imports_the_roof():
    assert circle(MODULES) == []
    assert {name for name, source in MODULES.items() if imports(source, name) & ROOF} - ABOVE == set()


@pytest.mark.parametrize(
    ("name", "source", "caught"),
    [
        ("space/cost", "def late():\n    from hydra.utils import instantiate", {"hydra"}),
        ("space", "from .cost import CostModel\nfrom ..host import Mo", {"host"}),
        ("search/evolve", "from nnabla_detofa import pruning", {"pruning"}),
        ("search/evolve", "if TYPE_CHECKING:\n    from .. import cli", {"cli"}),
        ("search/evolve", "import numpy, json\nfrom ..errors import a\nfrom ..space import b\nfrom . import x", set()),
    ],
)
def test_the_import_check_catches(name, source, caught):
    assert not_allowed(source, name) == caught


@pytest.mark.parametrize("late", ["{}", "if TYPE_CHECKING:\n    {}", "def late():\n    {}"])
def test_the_check_for_circles_catches(late):
    rooms = {"space": "from .budgets import Budgets", "search/evolution": "from ..space import Budgets"}
    assert circle(rooms) == []
    assert "space/budgets" in circle({**rooms, "space/budgets": late.format("from ..search.evolution import evolve")})


def heavy_after(statements: str) -> list[str]:
    """Which heavy packages a fresh interpreter holds after `statements`."""
    probe = f"import sys\n{statements}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return done.stdout.split()


def test_numpy_rooms_do_without_nnabla():
    modules = [f"nnabla_detofa.{name.replace('/', '.')}" for name in MODULES if name.split("/")[0] in NUMPY_ROOMS]
    assert heavy_after("import nnabla_detofa, nnabla_detofa.errors, " + ", ".join(modules)) == []
    assert heavy_after("import nnabla_detofa.report.comparison_files") == []
    assert heavy_after("import nnabla_detofa.launch.cli") == ["hydra", "omegaconf"]  # the probe catches


def test_files_are_small_and_say_what_they_are():
    lengths = {name: len(source.splitlines()) for name, source in MODULES.items()}
    assert {name for name, n in lengths.items() if n > 300} == set()
    assert statistics.median(lengths.values()) < 130
    docstrings = {name: (ast.get_docstring(ast.parse(source)) or "").split("\n")[0] for name, source in MODULES.items()}
    assert [name for name, line in docstrings.items() if not line.endswith(".")] == []
    assert not {"utils", "util", "core", "common", "base", "helpers", "misc"} & set("/".join(MODULES).split("/"))


def test_the_house_is_complete():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    packaged = {"nnabla_detofa", "nnabla_detofa.conf", *(f"nnabla_detofa.{room}" for room in ROOMS)}
    assert set(setup["options"]["packages"].split()) == packaged
    licence = (REPOSITORY / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
