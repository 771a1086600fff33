"""Decodes values written by ``driver.encode``: plain values of built-in types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MAX_DEPTH = 60


class NotPlain(ValueError):
    """Not a plain value; the message describes it as the program reported it."""


def decode(value: Any, depth: int = 0) -> Any:
    """
    Raises:
        NotPlain: any other value, or a malformed report.
    """
    if depth > _MAX_DEPTH:
        raise NotPlain("a value nested too deep")
    if value is None or isinstance(value, bool | str):
        return value
    match value:
        case {"t": "int" | "float" | "complex" | "bytes" as name, "v": str(text)}:
            return _scalar(name, text)
        case {"t": "list" | "tuple" | "set" | "frozenset" as name, "v": list(items)}:
            kind = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[name]
            return _collection(kind, [decode(item, depth + 1) for item in items])
        case {"t": "iterator", "v": list(items)}:
            return iter([decode(item, depth + 1) for item in items])
        case {"t": "dict", "v": list(pairs)} if all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            decoded = [(decode(k, depth + 1), decode(v, depth + 1)) for k, v in pairs]
            return _collection(dict, decoded)
        case {"t": "other", "v": str(text)}:
            raise NotPlain(text[:100])
    raise NotPlain("no value")


def _scalar(name: str, text: str) -> Any:
    readers: dict[str, Callable[[str], Any]] = {
        "int": lambda digits: int(digits, 16),
        "float": float,
        "complex": complex,
        "bytes": bytes.fromhex,
    }
    try:
        return readers[name](text)
    except ValueError as error:
        raise NotPlain("no value") from error


def _collection(kind: Any, items: list[Any]) -> Any:
    try:
        return kind(items)
    except TypeError as error:  # an unhashable member
        raise NotPlain("no value") from error
