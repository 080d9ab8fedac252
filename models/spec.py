"""Specs: frozen dataclass trees that describe what is to be built, and overrides on them by dotted paths."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, TypeVar, Union


class SpecError(ValueError):
    """A spec, an override or a preset name that cannot be used; the message says which, and what is near."""


class Spec:
    """Base of all specs. Subclasses are `@dataclass(frozen=True, kw_only=True)` and name their `part`.

    A field annotated with a Spec class accepts each subclass of it as its value; `part` is the short name by
    which an override chooses among them. `least` holds the smallest value of the numbers (and of the
    numbers in tuples) that have one; `rates` are fields that lie in [0, 1), wherever there are such.

    Raises:
        SpecError: a number below its least value, a rate that is none.
    """

    part: ClassVar[str] = ""
    least: ClassVar[Mapping[str, int]] = {}
    rates: ClassVar[tuple[str, ...]] = ("dropout", "drop_path")

    def __post_init__(self) -> None:
        for name, least in self.least.items():
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if any(number is not None and number < least for number in numbers):
                raise SpecError(f"{self.part}: {name} must be at least {least}, not {value}")
        for name in self.rates:
            if not 0 <= getattr(self, name, 0) < 1:
                raise SpecError(f"{self.part}: {name} must be in [0, 1), not {getattr(self, name)}")

    def override(self: S, changes: Mapping[str, Any]) -> S:
        """Same as the function `override`."""
        return override(self, changes)

    def to_dict(self) -> dict[str, Any]:
        """Same as the function `to_dict`."""
        return to_dict(self)


S = TypeVar("S", bound=Spec)


def to_dict(spec: Spec) -> dict[str, Any]:
    """The spec as plain dicts, lists and scalars in field order, with the name of the part in each node."""
    node: dict[str, Any] = {"part": spec.part}
    for field in dataclasses.fields(spec):  # type: ignore[arg-type]
        node[field.name] = _plain(getattr(spec, field.name))
    return node


def from_dict(base: type[S], data: Mapping[str, Any]) -> S:
    """The inverse of `to_dict`. `base` is the spec's class or a base class of it.

    Raises:
        SpecError: unknown part, unknown or missing field, or a value of another type.
    """
    return _from_mapping(base, data, "")


def override(spec: S, changes: Mapping[str, Any]) -> S:
    """A copy of `spec` with the fields at the dotted paths of `changes` replaced.

    `{"decoder.num_queries": 50}` sets a scalar. For a field that holds a spec, a string names another part
    (which starts from that part's defaults; the same part is kept as it is), and a mapping sets several
    fields at once, of another part if it has the key "part". The order of the paths does not matter. Lists
    become tuples, integers become floats where a float is declared.

    Raises:
        SpecError: a path that does not exist (the nearest are named), an unknown part, a value of another
        type.
    """
    return _apply(spec, _nest(changes), "")


def paths(spec: Spec, prefix: str = "") -> Iterator[str]:
    """Every dotted path that `override` accepts on this spec, in field order."""
    for field in dataclasses.fields(spec):  # type: ignore[arg-type]
        yield prefix + field.name
        value = getattr(spec, field.name)
        if isinstance(value, Spec):
            yield from paths(value, f"{prefix}{field.name}.")


def parts(base: type[Spec]) -> dict[str, type[Spec]]:
    """The parts by name that a field annotated with `base` accepts, with `base` itself if it has a name."""
    found = {base.part: base} if base.part and "part" in vars(base) else {}
    for subclass in base.__subclasses__():
        found.update(parts(subclass))
    return found


def nearest(name: str, known: typing.Iterable[str], count: int = 3) -> str:
    """The names closest to `name`, as text for an error message."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.4)
    if not close:  # nothing resembles it as a whole: match the last component of dotted names
        tail = name.rsplit(".", 1)[-1]
        alike = (k for k in known if difflib.SequenceMatcher(None, k.rsplit(".", 1)[-1], tail).ratio() > 0.5)
        close = list(itertools.islice(alike, count))
    return ", ".join(close or sorted(known)[:8])


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def _nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths to a tree. A part's name and paths below it merge, whichever comes first."""
    tree: dict[str, Any] = {}
    for path in sorted(changes, key=lambda p: p.count(".")):
        *parents, leaf = path.split(".")
        node = tree
        for step in parents:
            child = node.get(step, {})
            if isinstance(child, str):
                child = {"part": child}
            if not isinstance(child, Mapping):
                raise SpecError(f"override {path!r}: {step!r} is also set to {child!r} as a whole")
            node[step] = dict(child)
            node = node[step]
        value = changes[path]
        node[leaf] = _nest(value) if isinstance(value, Mapping) else value
    return tree


def _apply(spec: S, tree: Mapping[str, Any], prefix: str) -> S:
    hints = _hints(type(spec))
    values = {}
    for name, value in tree.items():
        path = prefix + name
        if name not in hints:
            raise SpecError(f"no field {path!r}; nearest: {nearest(path, paths(spec, prefix))}")
        values[name] = _convert(value, hints[name], path, getattr(spec, name))
    return dataclasses.replace(spec, **values)  # type: ignore[type-var]


def _from_mapping(base: type[S], data: Mapping[str, Any], path: str) -> S:
    choices = parts(base)
    name = data.get("part", base.part)
    if name not in choices:
        raise SpecError(f"{path or base.__name__}: no part {name!r}; nearest: {nearest(str(name), choices)}")
    cls = choices[name]
    hints, prefix = _hints(cls), f"{path}." if path else ""
    values = {}
    for key, value in data.items():
        if key == "part":
            continue
        if key not in hints:
            raise SpecError(f"no field {prefix + key!r} in part {name!r}; nearest: {nearest(key, hints)}")
        values[key] = _convert(value, hints[key], prefix + key, None)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(needed - values.keys()):
        raise SpecError(f"part {name!r} of {path or base.__name__} also needs: {', '.join(missing)}")
    return typing.cast(S, cls(**values))


@functools.cache
def _hints(cls: type[Spec]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


def _convert(value: Any, hint: Any, path: str, current: Any) -> Any:
    """`value` as the annotation `hint` wants it; `current` is what the field holds now."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, path, current)
    if origin is Literal:
        if value not in arguments:
            raise SpecError(f"{path} = {value!r}: choose from {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments, path)
    if isinstance(hint, type) and issubclass(hint, Spec):
        return _convert_spec(value, hint, path, current)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise SpecError(f"{path} = {value!r}: expected {_name(hint)}, got {type(value).__name__}")
    return value


def _convert_union(value: Any, choices: tuple[Any, ...], path: str, current: Any) -> Any:
    if value is None and type(None) in choices:
        return None
    errors = []
    for choice in choices:
        if choice is not type(None):
            try:
                return _convert(value, choice, path, current)
            except SpecError as error:
                errors.append(error)
    raise errors[0]


def _convert_tuple(value: Any, items: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise SpecError(f"{path} = {value!r}: expected a list")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise SpecError(f"{path} = {value!r}: expected {len(items)} values")
    return tuple(
        _convert(v, h, f"{path}[{i}]", None) for i, (v, h) in enumerate(zip(value, items, strict=True))
    )


def _convert_spec(value: Any, base: type[Spec], path: str, current: Any) -> Spec:
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        value = {"part": value}
    if not isinstance(value, Mapping):
        raise SpecError(
            f"{path} = {value!r}: expected the name of a part ({', '.join(parts(base))}) or a table"
        )
    if isinstance(current, Spec) and value.get("part", current.part) == current.part:
        return _apply(current, {k: v for k, v in value.items() if k != "part"}, f"{path}.")
    return _from_mapping(base, value, path)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))
