"""The command that converts MIT's checkpoint: with a stand-in for PyTorch, and with PyTorch where there is one."""

import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nnabla_detofa import convert_mit

REPOSITORY = Path(__file__).parent.parent
PEERS = REPOSITORY / ".venv-peers" / "bin" / "python"
STATE = {"input_stem.0.conv.weight": np.ones((4, 3, 3, 3)), "input_stem.0.bn.num_batches_tracked": np.array(1)}


class Tensor(np.ndarray):
    """An array that answers as a tensor does."""

    def float(self):
        return self.astype(np.float32)

    def numpy(self):
        return np.asarray(self)


@pytest.fixture
def torch(monkeypatch):
    """Stands in for PyTorch, which the tests' environment lacks; `stored` is what a file gives, or raises."""
    fake = SimpleNamespace(Tensor=Tensor, stored={"state_dict": {n: v.view(Tensor) for n, v in STATE.items()}})

    def load(file, *, map_location, weights_only):
        assert file.read_bytes() == b"PK" and (map_location, weights_only) == ("cpu", True)
        if isinstance(fake.stored, Exception):
            raise fake.stored
        return fake.stored

    fake.load = load
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mit").write_bytes(b"PK")
    return tmp_path / "mit", tmp_path / "ours.h5"


def refusal(capsys, *files):
    """The one line of a command that ends with exit code 2."""
    assert convert_mit.main([str(file) for file in files]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err.removeprefix("convert_mit: ").strip()


@pytest.mark.usefixtures("torch")
def test_a_checkpoint_becomes_a_weights_file(files, capsys):
    assert convert_mit.main([str(file) for file in files]) == 0
    assert capsys.readouterr().out == (
        f"{files[1]}: 1 of 2 entries, without the counts of batches seen; use it with"
        f" network.ofa_resnet50_centernet.pretrained={files[1]} network.ofa_resnet50_centernet.stem_activation=relu\n"
    )
    assert files[1].is_file()


def test_a_bare_state_dictionary_is_read_too(torch, files):
    torch.stored = torch.stored["state_dict"]
    assert set(convert_mit.read_checkpoint(files[0])) == set(STATE)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (pickle.UnpicklingError("Unsupported global: posix.system"), "tensors alone"),
        (RuntimeError("PytorchStreamReader failed\nat 7"), "cannot be read"),
        (EOFError(), "cannot be read"),
        (3, "no state dictionary"),
        ({"epoch": 3}, "no state dictionary"),
        ({"state_dict": {}}, "no parameters"),
    ],
    ids=["code", "cut off", "empty", "a number", "no tensors", "nothing"],
)
def test_what_is_no_checkpoint_is_said_in_one_line(torch, files, capsys, stored, said):
    torch.stored = stored
    answer = refusal(capsys, *files)
    assert answer.startswith(str(files[0])) and said in answer
    assert not files[1].exists()


@pytest.mark.usefixtures("torch")
def test_files_that_cannot_be(files, capsys):
    assert "no checkpoint" in refusal(capsys, files[0].with_name("gone"), files[1])
    assert ".h5" in refusal(capsys, files[0], files[1].with_suffix(".npz"))
    assert "cannot be written" in refusal(capsys, files[0], files[1].parent / "none" / "ours.h5")


def test_without_pytorch_the_extra_is_named(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "nnabla-detofa[convert]" in refusal(capsys, *files)


@pytest.mark.skipif(not PEERS.exists(), reason="needs the PyTorch of .venv-peers, which `make bench` builds")
def test_pytorch_itself_refuses_code_and_damage(tmp_path):
    script = """
import os, sys, torch
from pathlib import Path
from nnabla_detofa.convert_mit import read_checkpoint
from nnabla_detofa.errors import WeightsError

class Code:
    def __reduce__(self):
        return os.mkdir, (sys.argv[1] + "/was_run",)

file = Path(sys.argv[1], "checkpoint")
def said():
    try:
        return sorted(read_checkpoint(file))
    except WeightsError as error:
        return error
torch.save({"state_dict": {"a": torch.ones(2)}}, file)
print(said())
content = file.read_bytes()
file.write_bytes(content[:len(content) // 2])
print(said())
file.write_bytes(b"hello")
print(said())
torch.save({"state_dict": {"a": Code()}}, file)
print(said())
"""
    done = subprocess.run([PEERS, "-c", script, tmp_path], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    good, *bad = done.stdout.splitlines()
    assert good == "['a']"
    assert len(bad) == 3 and all(line.startswith(f"{tmp_path}/checkpoint ") for line in bad)
    assert "is no PyTorch checkpoint of tensors alone, and a pickle may run code: " in bad[-1]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]
