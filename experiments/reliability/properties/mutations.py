"""Damage to valid files, and values that nobody expects."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

EDGES = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]
ODD_NUMBERS = [0, -1, 1, 0.5, -0.0, 2**31, 2**53, 2**63, -(2**63) - 1, 10**30, 10**400, 1e308, -1e308, 5e-324]
ODD_TEXTS = [
    *("", " ", "\0", "\n", "a\nb", "nan", "inf", "-inf", "1e999", "0x10", "1_0", "٣", "½", "10" * 3000, "true", "null"),
    *("../x", "/etc/passwd", "..\\x", "C:\\x", "a/../../b", "~", "~nobody", "a" * 300, "\ud800", "\x1b[2J", "🐈"),
    *("None", "[", "{", "${a}", "%s%n", "&b;"),
]


SOME = st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 5, 8])  # edits: after many of them little is left to go wrong


def mutated(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the `valid` files after some edits: flipped, overwritten, cut, repeated or spliced bytes."""

    @st.composite
    def draw_mutated(draw: Any) -> bytes:
        data = draw(st.sampled_from(valid))
        for _ in range(draw(SOME)):
            data = _edit(draw, data, valid)
        return data

    return draw_mutated()


def _edit(draw: Any, data: bytes, valid: Sequence[bytes]) -> bytes:
    place = draw(st.integers(0, max(0, len(data) - 1)))
    length = draw(st.integers(1, 64))
    match draw(st.sampled_from(["flip", "set", "insert", "cut", "end", "repeat", "splice"])):
        case "flip" if data:
            return data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]
        case "set":
            edge = draw(st.sampled_from(EDGES))
            return data[:place] + edge + data[place + len(edge) :]
        case "insert":
            return data[:place] + draw(st.binary(max_size=16)) + data[place:]
        case "cut":
            return data[:place] + data[place + length :]
        case "end":
            return data[:place]
        case "repeat":
            return data[:place] + data[place : place + length] * draw(st.integers(2, 200)) + data[place + length :]
        case "splice":
            return data[:place] + draw(st.sampled_from(valid))[place:]
    return data


def odd_values() -> st.SearchStrategy[Any]:
    """Anything that JSON can hold, and what Python's JSON can hold besides."""
    numbers = st.one_of(st.sampled_from(ODD_NUMBERS), st.integers(), st.floats())
    leaves = st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(ODD_TEXTS), st.text(max_size=20))
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    )


def edited(valid: Any) -> st.SearchStrategy[Any]:
    """The nested lists and dictionaries of `valid` after some edits: values replaced, removed, repeated or moved."""

    @st.composite
    def draw_edited(draw: Any) -> Any:
        value = valid
        for _ in range(draw(SOME)):
            value = _edited_at(draw, value)
        return value

    return draw_edited()


def _edited_at(draw: Any, value: Any) -> Any:
    """A copy of `value`, changed somewhere below."""
    if not isinstance(value, (dict, list)) or not value or draw(st.integers(0, 15)) == 0:
        return draw(odd_values())
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from(keys))
    change = draw(st.sampled_from(["below"] * 8 + ["remove", "repeat", "swap"]))
    changed = value.copy()
    if change == "below":
        changed[key] = _edited_at(draw, value[key])
    elif change == "remove":
        del changed[key]
    elif change == "repeat" and isinstance(changed, list):
        changed.insert(key, value[key])
    else:
        changed[key] = value[draw(st.sampled_from(keys))]
    return changed
