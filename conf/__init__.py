"""The shipped configurations: YAML only; this file lets the folder be installed as `nnabla_detofa.conf`."""
