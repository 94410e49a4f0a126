"""The kernels of OpenBLAS that suit the processor (an addition; not in the paper).

NumPy 1.26, the last that nnabla takes, brings an OpenBLAS that knows no AMD processor from Zen 5 on and uses its kernels
for AVX2 there; those for AVX-512 multiply matrices up to twice as fast. It reads a variable when it is loaded, so this
has to come before NumPy; a variable that is set already stays.
"""

import os
import sys
from pathlib import Path

VARIABLE, KERNELS = "OPENBLAS_CORETYPE", "SkylakeX"
NEEDED = {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}  # by those kernels


def choose(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Set the variable where the processor is AMD's and has what the kernels need, and NumPy is not loaded yet."""
    if VARIABLE in os.environ or "numpy" in sys.modules or not cpuinfo.is_file():
        return
    first = cpuinfo.read_text(errors="replace").split("\n\n")[0]
    facts = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    facts = {name.strip(): value.split() for name, value in facts.items()}
    if facts.get("vendor_id") == ["AuthenticAMD"] and set(facts.get("flags", ())) >= NEEDED:
        os.environ[VARIABLE] = KERNELS
