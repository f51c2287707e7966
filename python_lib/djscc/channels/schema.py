# SPDX-License-Identifier: GPL-3.0-or-later
"""From a mapping (parsed YAML) to frozen dataclasses and back; errors name the key, the value and the remedy."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from djscc.errors import DjsccError

T = TypeVar("T")


class ChannelError(DjsccError):
    """A channel description that cannot be used; the message says which key, which value, and what to write instead."""


def build(cls: type[T], mapping: object, where: str = "") -> T:
    """Make the dataclass ``cls`` from a mapping of its fields; ``where`` is the dotted key of the mapping."""
    if not isinstance(mapping, Mapping):
        raise ChannelError(f"{where or 'channel'}: expected keys and values, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        if key not in names:
            raise ChannelError(f"{dotted(where, str(key))}: unknown key. {suggest(str(key), names)}")
        values[key] = convert(hints[key], value, dotted(where, key))
    try:
        return cls(**values)
    except ChannelError as error:
        raise ChannelError(f"{where}.{error}" if where else str(error)) from None
    except TypeError:
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        missing = [field.name for field in fields if field.default is dataclasses.MISSING and field.name not in values]
        raise ChannelError(f"{where or 'channel'}: add the missing {', '.join(missing)}") from None


def convert(hint: Any, value: Any, where: str) -> Any:
    """Check ``value`` against the type ``hint`` and convert it (a list to a tuple, a mapping to a dataclass)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        members = [member for member in arguments if member is not type(None)]
        if len(members) == 1:
            return convert(members[0], value, where)
        return _tagged(members, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ChannelError(f"{where}: expected a list, got {value!r}")
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) != len(value):
            raise ChannelError(f"{where}: expected {len(inner)} values, got {value!r}")
        pairs = enumerate(zip(inner, value, strict=True))
        return tuple(convert(item, part, f"{where}[{i}]") for i, (item, part) in pairs)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else build(typing.cast(type, hint), value, where)
    if hint is float:
        return _number(value, where)
    if hint is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise ChannelError(f"{where}: expected a whole number, got {value!r}")
    if hint is bool and not isinstance(value, bool):
        raise ChannelError(f"{where}: expected true or false, got {value!r}")
    if hint is str and isinstance(value, datetime.datetime):  # YAML reads an unquoted time as one
        return value.isoformat()
    if hint is str and not isinstance(value, str):
        raise ChannelError(f"{where}: expected text, got {value!r}")
    return value


def plain(value: Any) -> Any:
    """The mapping that ``build`` reads back as ``value``; keys that hold None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {key: part for key, part in parts.items() if part is not None}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value


def require(condition: bool, key: str, value: object, remedy: str) -> None:
    """Raise ``ChannelError`` unless ``condition`` holds."""
    if not condition:
        raise ChannelError(f"{key}: {value!r} cannot be used. {remedy}")


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which known word was likely meant, or list them all."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names)}."


def dotted(where: str, key: str) -> str:
    """Join the key of a section and a key in it."""
    return f"{where}.{key}" if where else key


def _number(value: Any, where: str) -> float:
    """A finite number; text such as "1e6", which YAML 1.1 does not read as a number, is taken too."""
    try:
        number = float("x") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise ChannelError(f"{where}: expected a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ChannelError(f"{where}: expected a finite number, got {value!r}")
    return number


def _tagged(members: list[Any], value: Any, where: str) -> Any:
    """One of several dataclasses, told apart by the key ``model``."""
    if any(isinstance(value, member) for member in members):
        return value
    known = {member.model: member for member in members}
    if not isinstance(value, Mapping) or value.get("model") not in known:
        given = value.get("model") if isinstance(value, Mapping) else value
        raise ChannelError(f"{where}.model: {given!r} is unknown. {suggest(str(given), known)}")
    return build(known[value["model"]], value, where)
