"""Genotypes: paths as the host writes them, a list of values for each kind of gene (an addition; not in the paper)."""

from collections.abc import Mapping, Sequence

from ..errors import ConfigError


def require_form(given: Mapping[str, Sequence], form: Mapping[str, tuple[int, str]]) -> None:
    """ConfigError where a genotype is not of this form: by key, how many values its list has and what they are."""
    for key, (length, _) in form.items():
        if not isinstance(given, Mapping) or not isinstance(given.get(key), Sequence) or len(given[key]) != length:
            lists = ", ".join(f"{name}: {n} {values}" for name, (n, values) in form.items())
            raise ConfigError(key="genotype", given=given, allowed=f"of the form {{{lists}}}")


def choice_index(key: str, value: object, choices: Sequence) -> int:
    """The index of a value of a genotype among the choices; ConfigError where it is none of them."""
    for index, choice in enumerate(choices):
        if value == choice:
            return index
    raise ConfigError(key=f"genotype {key}", given=value, allowed=f"one of {', '.join(map(str, choices))}")
