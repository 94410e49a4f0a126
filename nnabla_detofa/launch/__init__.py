"""The command and the launcher: from a configuration's file to a run (an addition; not in the paper).

Hydra and OmegaConf end here: what stands below takes plain data. Importing this room needs no nnabla.
"""
