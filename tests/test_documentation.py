"""The documentation holds: its Python runs, its commands compose, its files and links are there, and it stays short."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nnabla_detofa import cli
from nnabla_detofa.launch.composition import shipped_configs

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((REPOSITORY / "docs").glob("*.md"))
GENERATED = "configuration.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
FILE = re.compile(r"`((?:nnabla_detofa|conf|tests|experiments|docs)/[\w./-]+)`")


def blocks(language):
    return [(page, text) for page in PAGES for found, text in FENCED.findall(page.read_text()) if found == language]


def commands():
    """Arguments of each command on a shipped configuration, without those that a reader has to fill in; of a sweep,
    those of its first run."""
    for page, text in blocks(""):
        for line in text.replace("\\\n", " ").splitlines():
            if match := re.match(r"nnabla_nas (-c .*)", line.strip()):
                arguments = shlex.split(match[1], comments=True)
                if "-m" in arguments:
                    arguments = [one.partition(",")[0] for one in arguments if one != "-m"]
                yield pytest.param(arguments, id=f"{page.stem}: {line[:70]}")


def by_page(page):
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize(("page", "source"), [pytest.param(*one, id=by_page(one[0])) for one in blocks("python")])
def test_python_examples_run(page, source):
    """In a process of their own, since they add to what there is."""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, f"{page}: {done.stderr}"


@pytest.mark.parametrize("arguments", list(commands()))
def test_commands_compose(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(REPOSITORY / "conf")
    assert cli.main([*arguments, "--cfg", "job"]) == 0
    given = dict(one.split("=", 1) for one in arguments if "=" in one)
    printed = capsys.readouterr().out
    assert f"name: {given.get('name', Path(arguments[1]).stem)}" in printed


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_links_and_files_are_there(page):
    text = page.read_text()
    links = [page.parent / link for link in LINK.findall(text) if "://" not in link]
    named = [REPOSITORY / name for name in FILE.findall(text) if not re.search(r"[A-Z]{4}", name)]
    assert [os.path.relpath(one, REPOSITORY) for one in (*links, *named) if not one.exists()] == []


def test_pages_are_short_and_the_readme_links_each():
    lines = {page.name: len(page.read_text().splitlines()) for page in PAGES}
    assert lines.pop("README.md") <= 150
    assert {name: n for name, n in lines.items() if n > 120 and name != GENERATED} == {}
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text()))
    assert {by_page(page) for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("file", [REPOSITORY / "conf" / name for name in shipped_configs()], ids=lambda file: file.stem)
def test_every_configuration_says_its_command(file):
    head = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"nnabla_nas -c conf/{file.name}" in head
