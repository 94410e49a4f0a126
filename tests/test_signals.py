"""A hang-up is a wish to stop; what nohup ignores stays ignored, and a terminal that is gone is not written to."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading

import pytest

from nnabla_detofa.signals import STOP, handled_by

WAITING = """
import sys, time
from pathlib import Path
from nnabla_detofa.training.interruption import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while not stop.asked and not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    print("saving", file=sys.stderr)
    print("saved", flush=True)
    Path(sys.argv[1]).write_text("saved")
sys.exit(75 if stop.asked else 0)
"""


def test_a_terminal_that_goes_away(tmp_path):
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", WAITING, str(tmp_path / "saved"), str(tmp_path / "go")])
    said = b""
    while b"ready" not in said:
        assert select.select([terminal], [], [], 60)[0]
        said += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75
    assert (tmp_path / "saved").read_text() == "saved"


@pytest.mark.parametrize("ignored", [True, False])
def test_nohup(tmp_path, ignored):
    command = ["nohup"] * ignored + [sys.executable, "-c", WAITING, str(tmp_path / "saved"), str(tmp_path / "go")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    if ignored:
        (tmp_path / "go").touch()
    out, err = process.communicate()
    assert (process.returncode, out) == (0 if ignored else 75, "saved\n")
    assert ("SIGHUP: finishing what is in hand and saving" in err) is not ignored


def test_other_threads_set_nothing():
    before, seen = [signal.getsignal(one) for one in STOP], []

    def look():
        with handled_by(print):
            seen.extend(signal.getsignal(one) for one in STOP)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == before


IMPORTING = """
class Hook:
    def find_spec(self, name, *_):
        if name == "hydra":
            os.kill(os.getpid(), NUMBER)
sys.meta_path.insert(0, Hook())
"""
COMPOSING = """
from hydra._internal.config_loader_impl import ConfigLoaderImpl
load = ConfigLoaderImpl.load_configuration
def loaded(*given, **named):
    os.kill(os.getpid(), NUMBER)
    return load(*given, **named)
ConfigLoaderImpl.load_configuration = loaded
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", [IMPORTING, COMPOSING])
def test_the_command_is_interrupted_before_it_has_begun(tmp_path, when, number):
    command = "from nnabla_detofa.cli import main\nsys.exit(main(['-c', 'detofa_letters', '--cfg', 'job']))"
    source = "import os, sys\n" + when.replace("NUMBER", str(int(number))) + command
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (
        75,
        "nnabla_detofa: interrupted; run the same command again to go on\n",
    )
