"""The rooms import only what they may, stay small, and the NumPy rooms do without nnabla."""

import ast
import configparser
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
MAY_IMPORT = {
    "__init__": {"host", "notebook"},
    "errors": set(),
    "hdf5": {"numpy", "h5py"},
    "precision": {"nnabla"},
    "signals": set(),
    "threads": {"threadpoolctl"},
    "cli": {"hydra", "omegaconf", "composition", "overrides", "signals", "data", "host"},
    "composition": {"hydra", "omegaconf", "yaml", "overrides"},
    "overrides": {"hydra", "omegaconf", "keys", "signals"},
    "keys": {"algorithm", "pretraining", "ranking", "searching", "host", "supernet", "training"},
    "notebook": {"hydra", "omegaconf", "composition", "signals", "host"},
    "convert_mit": {"numpy", "torch", "supernet"},
    "algorithm": {"numpy", "training", "ranking", "searching", "pruning", "search", "space"},
    "pretraining": {"numpy", "nnabla", "precision", "training", "ranking", "supernet", "space"},
    "ranking": {"numpy", "training", "path_filter", "space"},
    "searching": {"numpy", "training", "ranking", "search", "space"},
    "options": {"pydantic", "pydantic_core"},
    "space": {"numpy"},
    "path_filter": {"numpy", "nnabla", "h5py", "hdf5", "precision", "threads", "space"},
    "pruning": {"numpy", "space"},
    "search": {"numpy", "space"},
    "supernet": {"numpy", "nnabla", "h5py", "hdf5", "precision", "threads", "host", "space"},
    "detection": {"numpy", "pycocotools"},
    "data": {"numpy", "cv2", "PIL", "defusedxml", "sklearn", "tqdm", "detection"},
    "training": {"numpy", "nnabla", "h5py", "hdf5", "precision", "matplotlib", "tqdm"}
    | {"signals", "threads", "host", "space", "supernet", "detection"},
    "host": {"numpy", "nnabla", "nnabla_ext", "nnabla_nas"},
    "host/job": {"hydra", "omegaconf"},
    "host/plugin": {"nnabla_nas", "algorithm", "pretraining", "data", "supernet"},
}
NUMPY_ROOMS = ("data", "detection", "pruning", "search", "space")
HEAVY = ("nnabla", "nnabla_ext", "nnabla_nas", "hydra", "omegaconf")


def name_of(file: Path) -> str:
    """`space/cost.py` as `space/cost`, a room's `__init__.py` as the room."""
    return file.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


def is_room(file: Path) -> bool:
    """Whether the file is a room's `__init__.py`."""
    return file.name == "__init__.py" and file.parent != PACKAGE


def imports(source: str, name: str, *, is_room: bool = False) -> set[str]:
    """What `source` of the module `name` imports: rooms by name, others by their top-level package."""
    here = ["nnabla_detofa", *name.split("/")] + (["__init__"] if is_room else [])
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: -node.level], *filter(None, [node.module])] if node.level else [node.module]
            base = ".".join(base)
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == "nnabla_detofa" else {base}
    inside = {full.split(".")[1] for full in found if full.startswith("nnabla_detofa.")}
    outside = {full.split(".")[0] for full in found} - {"nnabla_detofa"}
    return (inside | outside) - sys.stdlib_module_names - {"errors", name.split("/")[0]}


def not_allowed(source: str, name: str, *, is_room: bool = False) -> set[str]:
    """Imports that the table does not grant to the module `name`."""
    granted = MAY_IMPORT.get(name, MAY_IMPORT.get(name.split("/")[0], set()))
    return imports(source, name, is_room=is_room) - granted


def test_imports_follow_the_table():
    found = {name_of(file): not_allowed(file.read_text(), name_of(file), is_room=is_room(file)) for file in FILES}
    assert {name: bad for name, bad in found.items() if bad} == {}


def test_every_grant_is_used():
    used: dict[str, set[str]] = {granted: set() for granted in MAY_IMPORT}
    for file in FILES:
        name = name_of(file)
        found = imports(file.read_text(), name, is_room=is_room(file))
        used[name if name in MAY_IMPORT else name.split("/")[0]] |= found
    assert {name: granted - used[name] for name, granted in MAY_IMPORT.items() if granted - used[name]} == {}


@pytest.mark.parametrize(
    ("name", "source", "caught"),
    [
        ("space/cost", "import nnabla as nn", {"nnabla"}),
        ("space/cost", "def late():\n    from hydra.utils import instantiate", {"hydra"}),
        ("search/evolve", "from ..training import Runner", {"training"}),
        ("search/evolve", "from nnabla_detofa.training.report import line", {"training"}),
        ("search/evolve", "from nnabla_detofa import pruning", {"pruning"}),
        ("search/evolve", "from .. import supernet", {"supernet"}),
        ("host/launch", "from ..data import voc", {"data"}),
        ("training/runner", "from nnabla_nas.runner import Runner", {"nnabla_nas"}),
        (
            "search/evolve",
            "import numpy, json\nfrom ..errors import unknown\nfrom ..space import Budgets\nfrom . import x",
            set(),
        ),
    ],
)
def test_the_import_check_catches(name, source, caught):
    assert not_allowed(source, name) == caught


def test_the_import_check_reads_rooms():
    assert not_allowed("from .cost import CostModel\nfrom ..host import Mo", "space", is_room=True) == {"host"}


def heavy_after(statements: str) -> list[str]:
    """Which heavy packages a fresh interpreter holds after `statements`."""
    probe = f"import sys\n{statements}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return done.stdout.split()


def test_numpy_rooms_do_without_nnabla():
    modules = [f"nnabla_detofa.{name_of(file).replace('/', '.')}" for file in FILES if file.parent.name in NUMPY_ROOMS]
    assert len(modules) > len(NUMPY_ROOMS)
    assert heavy_after("import nnabla_detofa, nnabla_detofa.errors, " + ", ".join(modules)) == []


def test_the_probe_for_heavy_packages_catches():
    assert heavy_after("import nnabla_detofa.cli") == ["hydra", "omegaconf"]


def test_files_are_small():
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: n for name, n in lengths.items() if n > 300} == {}
    assert statistics.median(lengths.values()) < 130


def test_no_room_for_leftovers():
    words = {"utils", "util", "core", "common", "base", "helpers", "misc"}
    assert {name_of(file) for file in FILES if words & set(name_of(file).split("/"))} == set()


def test_modules_say_what_they_are():
    docstrings = {name_of(file): ast.get_docstring(ast.parse(file.read_text())) or "" for file in FILES}
    assert [name for name, text in docstrings.items() if not text or not text.splitlines()[0].endswith(".")] == []


def test_every_room_is_packaged():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    packaged = set(setup["options"]["packages"].split())
    assert packaged == {"nnabla_detofa", "nnabla_detofa.conf", *(f"nnabla_detofa.{room}" for room in ROOMS)}


@pytest.mark.parametrize(
    "name", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "setup.cfg"]
)
def test_the_house_is_complete(name):
    assert (REPOSITORY / name).stat().st_size > 0


def test_licence_is_the_standard_text():
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
