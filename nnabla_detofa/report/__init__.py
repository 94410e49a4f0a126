"""The summary of a finished run, and the plan of one (an addition; not in the paper).

Nothing is imported here: finished runs are compared without nnabla.
"""
