"""OpenBLAS is told of AVX-512 where it would not find it itself, and of nothing that a processor lacks."""

import os
import subprocess
import sys

import pytest

from nnabla_detofa import blas

FLAGS = "fpu avx2 avx512f avx512dq avx512cd avx512bw avx512vl"
ZEN5 = f"processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: {FLAGS}\n\nprocessor\t: 1\n"


@pytest.fixture
def fresh(monkeypatch):
    """A process without the variable and, as it seems, without NumPy."""
    monkeypatch.setattr(blas.sys, "modules", {})
    monkeypatch.delenv(blas.VARIABLE, raising=False)
    yield monkeypatch
    os.environ.pop(blas.VARIABLE, None)


@pytest.mark.parametrize(
    ("cpuinfo", "chosen"),
    [
        (ZEN5, True),
        (ZEN5.replace("AuthenticAMD", "GenuineIntel"), False),
        *((ZEN5.replace(f" {flag}", ""), False) for flag in sorted(blas.NEEDED)),
        ("CPU implementer\t: 0x41\n", False),
        ("", False),
        (None, False),
    ],
)
def test_by_the_processor(fresh, tmp_path, cpuinfo, chosen):
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    blas.choose(file)
    assert (os.environ.get(blas.VARIABLE) == blas.KERNELS) == chosen


def test_what_is_set_stays_and_numpy_comes_later(fresh, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(ZEN5)
    fresh.setattr(blas.sys, "modules", {"numpy": None})
    blas.choose(file)
    assert blas.VARIABLE not in os.environ
    fresh.setattr(blas.sys, "modules", {})
    fresh.setenv(blas.VARIABLE, "Haswell")
    blas.choose(file)
    assert os.environ[blas.VARIABLE] == "Haswell"


def test_the_package_loads_no_numpy():
    probe = "import nnabla_detofa, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
