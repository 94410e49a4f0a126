"""Mutation testing: three lines of each room are changed, one at a time, and that room's tests have to notice.

    python -m experiments.reliability.mutation [--seed 0] [--commit HEAD] [--only ROOM …] [--lines 3]

A room is a package or a module at the top of `nnabla_detofa`. A mutant lives in a temporary copy of the commit, never
in the work tree. Annotations, defaults, constants, messages, logging, pictures, time and the lines of `EQUIVALENT` are
left alone: a change there alters a sentence, a look or a speed, and nothing that a test may ask for. A catch counts
only where the test that noticed passes without the change. Prints a line a mutant.
"""

import argparse
import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PACKAGE = "nnabla_detofa"

# Tests of a room, as patterns below tests/; a room that is not listed has tests/ROOM/ or every test file with its name.
RUNS = ["algorithm/test_algorithm*.py"]  # whole ones, small
TESTS = {
    "errors": ["test_errors.py", "pruning/test_*.py", "launch/test_launch_cli.py"],
    "precision": ["supernet/test_supernet_half.py"],
    "cli": ["launch/test_launch_cli.py"],
    "training": ["training/test_training*.py", *RUNS],
    "filter_stages": ["algorithm/test_filter_stages.py", *RUNS],
    **dict.fromkeys(("ranking", "search_stages", "pruning_stages", "algorithm", "searcher"), RUNS),
}
NOT_HERE = {"test_make.py", "test_launch_checkout.py"}  # they ask for environments

# Lines that are left alone, and why no test can tell them from their change.
EQUIVALENT = {
    'return ThreadPoolExecutor(max(1, THREADS - 1), "nnabla_detofa")': "only the speed differs",
    "floats = 0": "a float of millions, which no digit of a plan shows",
    "if claimed > there:": "a file has a header too, so that its arrays never fill it",
}

SPOKEN = re.compile(
    r"print|say|tell|warn|info|debug|warning|error|write_line|bar|\w*Error|unknown|time|perf_counter|monotonic|sleep|tqdm"
    r"|ArgumentParser|add_argument|subplots|figure|savefig|legend|annotate|scatter|plot|set_\w+|TypeVar"
)
LEFT_OUT = {"annotation", "returns", "decorator_list", "bases"}
COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
OPPOSITES = {"min": "max", "any": "all", "minimum": "maximum", "argmin": "argmax", "nanmin": "nanmax", "zeros": "ones"}
OPPOSITES |= {other: one for one, other in OPPOSITES.items()}


class Mutant(NamedTuple):
    """One change: the module below the package, the line's number and text before and after, and the changed source."""

    module: str
    line: int
    before: str
    after: str
    source: bytes


def changed(node: ast.expr, *, condition: bool) -> ast.expr | None:
    """The expression changed in one place; a condition is at least negated. None: there is nothing to change."""
    other = deepcopy(node)
    if isinstance(other, ast.Compare):
        other.ops[0] = COMPARISONS[type(other.ops[0])]()
    elif isinstance(other, ast.BinOp) and type(other.op) in ARITHMETIC and not _is_text(other):
        other.op = ARITHMETIC[type(other.op)]()
    elif isinstance(other, ast.BoolOp):
        other.op = ast.And() if isinstance(other.op, ast.Or) else ast.Or()
    elif isinstance(other, ast.UnaryOp) and isinstance(other.op, ast.Not | ast.USub | ast.Invert):
        return other.operand
    elif isinstance(other, ast.Constant) and isinstance(other.value, bool | int | float):
        other.value = not other.value if isinstance(other.value, bool) else other.value + 1
    elif isinstance(other, ast.Call) and isinstance(other.func, ast.Name) and other.func.id in OPPOSITES:
        other.func.id = OPPOSITES[other.func.id]
    elif isinstance(other, ast.Call) and isinstance(other.func, ast.Attribute) and other.func.attr in OPPOSITES:
        other.func.attr = OPPOSITES[other.func.attr]
    elif condition:
        return ast.UnaryOp(ast.Not(), other)
    else:
        return None
    return other


def _is_text(node: ast.BinOp) -> bool:
    """Whether strings or lists are joined, which have no difference."""
    parts = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
    return any(
        isinstance(part, parts) or isinstance(getattr(part, "value", 0), str) for part in (node.left, node.right)
    )


def expressions(node: ast.AST) -> Iterator[ast.expr]:
    """All expressions that decide what is computed."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.arguments):
        return
    if SPOKEN.fullmatch(_called(node)):
        return
    if isinstance(node, ast.BinOp) and "time." in ast.unparse(node):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
        return
    if isinstance(node, ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            declared = isinstance(child, ast.keyword) and child.arg == "strict" and _called(node) == "zip"
            declared |= isinstance(node, ast.ClassDef | ast.Module) and isinstance(child, ast.Assign | ast.AnnAssign)
            if isinstance(child, ast.AST) and name not in LEFT_OUT and not declared:
                yield from expressions(child)


def _called(node: ast.AST) -> str:
    """Last name of the function that is called; empty where none is."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", ""))


def mutants(room: Path, package: Path) -> Iterator[Mutant]:
    """Every change of a room's files."""
    for file in sorted(room.rglob("*.py")) if room.is_dir() else [room]:
        source, module = file.read_bytes(), file.relative_to(package).as_posix()
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        tree = ast.parse(source)
        conditions = {id(node.test) for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp | ast.While)}
        for node in expressions(tree):
            after = changed(node, condition=id(node) in conditions)
            if after is None:
                continue
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            mutated = source[:begin] + f"({ast.unparse(after)})".encode() + source[end:]
            before, now = (text.splitlines()[node.lineno - 1].decode().strip() for text in (source, mutated))
            if before not in EQUIVALENT:
                yield Mutant(module, node.lineno, before, now, mutated)


def chosen(candidates: list[Mutant], n: int, seed: int) -> list[Mutant]:
    """So many of them on different lines, and in different files before the same one again.

    The order is drawn from what a line says, so it is the same wherever the line stands and whatever else there is.
    """
    order = sorted(candidates, key=lambda one: sha256(f"{seed} {one.before} {one.after}".encode()).digest())
    found: list[Mutant] = []
    while order and len(found) < n:
        used = [one.module for one in found]
        order.sort(key=lambda one: used.count(one.module))  # stable: the drawn order within a file
        first = order.pop(0)
        found.append(first)
        order = [one for one in order if (one.module, one.line) != (first.module, first.line)]
    return found


def tests_of(room: str, module: str, tests: Path) -> list[str]:
    """A room's test files; those that name the changed module first, since they are the likely ones to notice."""
    patterns = TESTS.get(room) or ([f"{room}/**/test_*.py"] if (tests / room).is_dir() else [f"**/test_*{room}*.py"])
    files = sorted({file for pattern in patterns for file in tests.glob(pattern) if file.name not in NOT_HERE})
    stem = Path(module).stem
    files.sort(key=lambda file: (stem not in file.stem, not re.search(rf"\b{stem}\b", file.read_text())))
    return [file.relative_to(tests.parent).as_posix() for file in files]


def asked(copy: Path, tests: list[str], seconds: float) -> tuple[int | None, str]:
    """Exit code of pytest in the copy (None: out of time), and the first test that failed."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--tb=no", "-rfE", "--no-header", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # only the session that was started here
        process.communicate()
        return None, ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", told, re.MULTILINE)
    return process.returncode, failed[1] if failed else ""


def verdict(mutant: Mutant, copy: Path, tests: list[str], seconds: float) -> str:
    """The answer of the tests to the mutant; the copy is as before afterwards."""
    if not tests:
        return "SURVIVED: the room has no tests"
    file = copy / PACKAGE / mutant.module
    original, unasked = file.read_bytes(), [""]
    while True:
        file.write_bytes(mutant.source)
        try:
            code, failed = asked(copy, [*tests, *(f"--deselect={one}" for one in unasked if one)], seconds)
        finally:
            file.write_bytes(original)
        if code is None:
            return "caught (does not end)"
        if code == 0:
            return "SURVIVED"
        if asked(copy, [failed] if failed else tests, seconds)[0] == 0:
            return f"caught by {failed}"
        if failed in unasked:
            return "UNKNOWN: the tests fail without the change too"
        unasked.append(failed)


def copy_of(commit: str, folder: Path) -> Path:
    """The files of a commit in a folder of their own; the installed package is found there first."""
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    (folder / PACKAGE / "conf").symlink_to(folder / "conf")  # as an installed package has it
    return folder


def rooms_of(package: Path) -> list[Path]:
    """Packages and modules at the top of the package."""
    found = [one for one in package.iterdir() if (one / "__init__.py").is_file() or one.suffix == ".py"]
    return sorted(one for one in found if one.name not in ("__init__.py", "conf"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--only", nargs="+", metavar="ROOM")
    parser.add_argument("--lines", type=int, default=3, help="of each room")
    parser.add_argument("--seconds", type=float, default=600, help="for the tests of one mutant")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    options = parser.parse_args()
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as place:
        copy = copy_of(options.commit, Path(place))
        for room in rooms_of(copy / PACKAGE):
            if options.only and room.stem not in options.only:
                continue
            for mutant in chosen(list(mutants(room, copy / PACKAGE)), options.lines, options.seed):
                start, tests = time.monotonic(), tests_of(room.stem, mutant.module, copy / "tests")
                told = "not run" if options.list else verdict(mutant, copy, tests, options.seconds)
                counts[told.split()[0]] = counts.get(told.split()[0], 0) + 1
                change = f"{mutant.before} → {mutant.after}"
                spent = f"{time.monotonic() - start:.0f} s"
                print(f"{room.stem} | {mutant.module}:{mutant.line} | {change} | {told} | {spent}", flush=True)
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    return int(set(counts) - {"caught", "not"} != set())


if __name__ == "__main__":
    sys.exit(main())
