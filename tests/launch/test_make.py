"""`make` without a CPython 3.10 says in one line how to get one."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
MAKE = shutil.which("make")


@pytest.mark.skipif(MAKE is None, reason="there is no make")
@pytest.mark.parametrize("target", ["venv", "demo", "test"])
def test_no_python_310(tmp_path, target):
    for name in ("Makefile", "setup.cfg"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shim = tmp_path / "bin" / "python3.10"  # what pyenv puts on PATH where no 3.10 is chosen
    shim.parent.mkdir()
    shim.write_text("#!/bin/bash\necho 'pyenv: python3.10: command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    environment = {"PATH": str(shim.parent), "HOME": str(tmp_path), "LC_ALL": "C"}
    done = subprocess.run(
        [MAKE, "-C", tmp_path, target],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert told == [
        "no CPython 3.10 with venv found (nnabla 1.39 runs on nothing newer): 'uv python install 3.10',"
        f" 'pyenv install 3.10' or 'apt-get install python3.10-venv', or make {target} PYTHON=/path/to/python3.10"
    ]
    assert not (tmp_path / ".venv").exists()
