"""The reference of all keys from their declarations: `python -m nnabla_detofa.launch.reference FILE` (an addition).

A key's meaning is a text in its annotation, or a line "KEY: …" of the docstring of what declares it.
"""

import json
import re
import sys
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ..options import Kind, Options
from ..run_options import ArgsOptions, PretrainingOptions, RunOptions
from .composition import REPEATED
from .config_check import OptimizerOptions
from .keys import MODULES, declared, held

START = """# Configuration

Every key, from its declaration (`make reference` writes this file). A key without a default has to be given; the files
of [conf/](../conf) give nearly all of them, with the reasons. `null` is nothing. Keys that a file does not list are
set in the same way: `nnabla_detofa -c detofa_voc search.mutation_ratio=0.3`. Beside these groups there are `name`, of
the run's folder, and `detector`, a found one in the place of `network`, as
in [conf/finetune.yaml](../conf/finetune.yaml).
"""
SUPPLIED = {"comm", "event", "args", "identity", *REPEATED}


def reference() -> str:
    """The whole file."""
    sections: dict[str, Any] = {"args": ArgsOptions, "hparams": RunOptions}
    sections |= {group: held(RunOptions.model_fields[group].annotation) for group in REPEATED}
    sections |= {"hparams` of `OFAPretrainer": PretrainingOptions, "optimizer.NAME": OptimizerOptions}
    for name, module in MODULES.items():
        for group, kind in (("network", "TrainNet"), ("dataloader", "DataLoader")):
            sections[f"{group}.{name}"] = declared(getattr(module, kind, None))
    known = {title: kind for title, kind in sections.items() if isinstance(kind, type) and issubclass(kind, Options)}
    return START + "".join(f"\n{section(title, kind)}" for title, kind in known.items())


def section(title: str, kind: type[Options]) -> str:
    """The table of a group of options, below what it is."""
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(title.partition("`")[0], kind))
    said = "" if kind.__doc__ is None else (getdoc(kind) or "").partition("\n\n")[0]
    return f"## `{title}`\n\n{said}\n\n| key | allowed | default | meaning |\n|---|---|---|---|\n{rows}"


def _rows(where: str, kind: type[Options]) -> Iterator[tuple[str, ...]]:
    for name, field in kind.model_fields.items():
        key, inner = f"{where}.{name}", held(field.annotation)
        told = kind is PretrainingOptions and repr(field) == repr(RunOptions.model_fields.get(name))
        if name in SUPPLIED or told:
            continue
        if inner is None or _meaning(name, field, kind):
            of = next((one for one in field.metadata if isinstance(one, Kind)), None)
            default = field.default if of is None or field.is_required() else of.plain(field.default)
            default = "" if field.is_required() else f"`{_shown(default)}`"
            allowed = "" if of is None else of.allowed
            yield tuple(one.replace("|", "\\|") for one in (f"`{key}`", allowed, default, _meaning(name, field, kind)))
        if inner is not None:
            yield from _rows(f"{key}.NAME" if "dict[" in str(field.annotation) else key, inner)


def _meaning(name: str, field: FieldInfo, kind: type[Options]) -> str:
    """In the annotation, or in the docstring of the class that declares the field."""
    for one in field.metadata:
        if isinstance(one, str):
            return one
    documented = [getdoc(base) or "" for base in kind.__mro__ if name in vars(base).get("__annotations__", ())]
    for text in [*documented, getdoc(kind) or ""]:
        if found := re.search(rf"^( *)(?:\w+, )*{name}(?:, \w+)*: (.*(?:\n\1 +\S.*)*)", text, re.MULTILINE):
            return re.split(r"(?<!Eq)\. ", " ".join(found[2].split()).rstrip("."), maxsplit=1)[0]
    return ""


def _shown(value: Any) -> str:
    """As YAML has it."""
    return json.dumps(value, default=lambda one: dict(one) if isinstance(one, Options) else str(one))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference())
