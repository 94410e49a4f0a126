"""Checks on a cluster say where they cannot be, and the batch script queues again what was interrupted alone."""

import os
import subprocess
import sys

import pytest

from experiments.cluster import __main__ as cluster
from experiments.cluster import one_node
from experiments.cluster.checks import SCRIPT


@pytest.fixture
def said(monkeypatch, capsys):
    """Exit code and output of the checks where no SLURM is installed, and the machine is as `patches` say."""

    def run(arguments, path="/nowhere", **patches):
        monkeypatch.setattr(one_node, "_path", lambda: str(path))
        monkeypatch.setenv("PATH", str(path))
        for name, value in patches.items():
            monkeypatch.setattr(os, name, value)
        monkeypatch.setattr(sys, "argv", ["cluster", *arguments])
        code = cluster.main()
        return code, capsys.readouterr().out

    return run


def executable(file, script):
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(("arguments", "code"), [(["--where-possible"], 0), ([], 2)])
def test_no_slurm_and_no_way_to_have_one(said, arguments, code):
    ended, told = said(arguments)
    assert ended == code
    assert told.startswith("not run: no SLURM can be here: munged, slurmctld, slurmd, sbatch, srun are missing")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("install", "reason"), [("echo no network >&2; exit 100", "no network"), ("exit 0", "missing")]
)
def test_packages_that_cannot_be_had(said, tmp_path, install, reason):
    executable(tmp_path / "apt-get", f'[ "$1" = install ] || exit 0\n{install}')
    ended, told = said(["--where-possible"], tmp_path, geteuid=lambda: 0)
    assert ended == 0
    assert told.startswith("not run: ") and reason in told


def test_a_daemon_that_does_not_start(said, tmp_path):
    for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun"):
        executable(tmp_path / name, "echo it has no key >&2; exit 1")
    ended, told = said(["--where-possible"], tmp_path)
    assert ended == 0
    assert told.endswith("munged --force failed: it has no key\n")


@pytest.mark.parametrize("code", [0, 2, 75])
def test_the_batch_script_queues_again_what_was_interrupted(tmp_path, code):
    executable(tmp_path / "srun", f'echo "$@" >{tmp_path}/started; exit {code}')
    executable(tmp_path / "scontrol", f'echo "$@" >{tmp_path}/queued')
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    ended = subprocess.run(["bash", SCRIPT, "detofa_voc", "name=a b"], env=environment)
    assert ended.returncode == code
    assert (tmp_path / "started").read_text() == "--mpi=pmix --wait=60 nnabla_nas -c detofa_voc name=a b\n"
    assert (tmp_path / "queued").exists() == (code == 75)
    if code == 75:
        assert (tmp_path / "queued").read_text() == "requeue 7\n"
