"""`dataclass`, `field` and `replace` as the standard library has them, at a fraction of what they cost at a start.

Those write and compile six functions for each class, and load `inspect` for that; a run starts four processes with some fifty
such classes each. Here one is compiled, `__init__`, and the others are shared or closures. Type checkers see the standard ones,
and so may who reads a class: each name means what it means there. What is rarely needed, as `asdict`, is the standard library's
own, which knows these classes, too.

Only as far as we use it: always `slots=True`, no inheritance, no order. Source: `dataclasses` of Python 3.11.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

__all__ = ["dataclass", "field", "replace"]


class _Field(NamedTuple):
    """What is particular about a field."""

    default_factory: Callable[[], Any] | None
    repr: bool


def _field(*, default_factory: Callable[[], Any] | None = None, repr: bool = True) -> _Field:  # noqa: A002 - as there
    return _Field(default_factory, repr)


def _dataclass(
    *, slots: bool, frozen: bool = False, kw_only: bool = False, eq: bool = True
) -> Callable[[type[Any]], type[Any]]:
    assert slots
    return lambda written: _made(written, frozen=frozen, kw_only=kw_only, eq=eq)


def _replace(value: Any, /, **changes: Any) -> Any:  # noqa: ANN401 - of any of these classes
    of = type(value)
    return of(**{name: getattr(value, name) for name in of.__slots__} | changes)


def _made(written: type[Any], *, frozen: bool, kw_only: bool, eq: bool) -> type[Any]:
    """Return the class that was written, with slots for its annotations, and the methods of a dataclass."""
    assert written.__bases__ == (object,), "fields are not inherited here"
    names = tuple(written.__annotations__)
    members = {name: member for name, member in vars(written).items() if name not in ("__dict__", "__weakref__")}
    given = {name: members.pop(name) for name in names if name in members}
    shown = [name for name in names if not isinstance(given.get(name), _Field) or given[name].repr]
    members |= {"__slots__": names, "__match_args__": () if kw_only else names, "__qualname__": written.__qualname__}
    members |= {"__init__": _init(names, given, members, frozen=frozen, kw_only=kw_only), "__repr__": _repr(shown)}
    members["__dataclass_fields__"] = _Fields()
    if eq:
        members |= _equality(names, hashed=frozen)
    if frozen:
        members |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    return type(written.__name__, written.__bases__, members)


def _init(
    names: Sequence[str], given: Mapping[str, Any], members: Mapping[str, Any], *, frozen: bool, kw_only: bool
) -> Callable[..., None]:
    """Compile the constructor: one that loops over its fields would take several times as long, for each message."""
    scope: dict[str, Any] = {"set_": object.__setattr__, "absent": _ABSENT}
    parameters = ["self", "*"] if kw_only and names else ["self"]
    lines = []
    for name in names:
        default, value = given.get(name, _ABSENT), name
        if isinstance(default, _Field) and default.default_factory is not None:
            scope[f"make_{name}"] = default.default_factory
            parameters.append(f"{name}=absent")
            value = f"make_{name}() if {name} is absent else {name}"
        elif default is _ABSENT or isinstance(default, _Field):
            parameters.append(name)
        else:
            scope[f"default_{name}"] = default
            parameters.append(f"{name}=default_{name}")
        lines.append(f"set_(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if "__post_init__" in members:
        lines.append("self.__post_init__()")
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n {body}", scope)  # noqa: S102 - of names that are in our own source
    return scope["__init__"]  # type: ignore[no-any-return]


def _repr(shown: Sequence[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: ANN401, N807
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return __repr__


def _equality(names: Sequence[str], *, hashed: bool) -> dict[str, Any]:
    """Return what compares values by their fields, and only with those of the same class."""
    values: Callable[[Any], Any] = attrgetter(*names) if names else type

    def __eq__(self: Any, other: object) -> bool:  # noqa: ANN401, N807
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: ANN401, N807
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if hashed else None}


def _refuse_to_set(_self: object, name: str, _value: object) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - a defect, so hardly ever

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: object, name: str) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - likewise

    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Fields:
    """`__dataclass_fields__`, made when the standard library asks: its `fields`, `asdict`, `astuple` and `replace` go by it."""

    def __get__(self, _value: object, of: type[Any]) -> Mapping[str, Any]:
        from dataclasses import make_dataclass  # noqa: PLC0415 - few ask

        described: Any = make_dataclass(of.__name__, of.__annotations__.items())
        fields: Mapping[str, Any] = described.__dataclass_fields__
        return fields


_ABSENT = object()
"""Where nothing is given."""


if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    dataclass, field, replace = _dataclass, _field, _replace
