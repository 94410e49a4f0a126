"""All tests compute with the BLAS kernels of a run: the package says which, before NumPy is loaded."""

import nnabla_detofa  # noqa: F401
