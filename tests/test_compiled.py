"""Compiled loops: what they are compiled with."""

from nnabla_detofa import compiled as module
from nnabla_detofa.compiled import compiled


def test_loops_compile_where_nothing_can_be_kept(monkeypatch):
    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    def loop(x):
        return x

    monkeypatch.setattr(module, "njit", njit)
    function, options = compiled(fastmath={"nsz"})(loop)
    assert function is loop
    assert options == {"nogil": True, "error_model": "numpy", "fastmath": {"nsz"}}
