"""The values at given paths of a JSON object, as they were sent, or typed where all of them are as expected.

msgspec parses the whole value, strictly, and builds nothing but the values that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

ABSENT = b""
Tree = dict[str, Any]  # the parts of paths: a name → the tree below, or the whole path where it ends


def raw_leaves(paths: Sequence[str]) -> Callable[[bytes], list[bytes]]:
    """A function from a payload to each path's value as its bytes, ABSENT where there is none.

    It raises msgspec.ValidationError for what is no object. A path through anything but objects ends nowhere.
    """
    read = _raw_reader(_tree(paths))

    def leaves(payload: bytes) -> list[bytes]:
        found: dict[str, bytes] = {}
        read(payload, found)
        return [found.get(path, ABSENT) for path in paths]

    return leaves


def typed_leaves(types: Mapping[str, Any]) -> Callable[[bytes], tuple[Any, ...]]:
    """A function from a payload to the values of the paths (two at least), None where there is none.

    It raises msgspec.DecodeError where a value is not of its type, or its object none: ask raw_leaves then.
    """
    struct, getters = _typed_struct(_tree(list(types)), types)
    decode = msgspec.json.Decoder(struct).decode
    flat = not any("." in getter for getter in getters.values())
    of = msgspec.structs.astuple if flat else attrgetter(*[getters[path] for path in types])
    return lambda payload: of(decode(payload))


def _tree(paths: Sequence[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        node = tree
        *outer, last = path.split(".")
        for part in outer:
            node = node.setdefault(part, {})
        node[last] = path
    return tree


def _raw_reader(tree: Tree) -> Callable[[bytes, dict[str, bytes]], None]:
    members: list[tuple[str, Any, Any]] = [(f"f{at}", msgspec.Raw, msgspec.Raw()) for at in range(len(tree))]
    names = {f"f{at}": part for at, part in enumerate(tree)}
    decode = msgspec.json.Decoder(msgspec.defstruct("Object", members, rename=names)).decode
    inner = {f"f{at}": _raw_reader(node) for at, node in enumerate(tree.values()) if isinstance(node, dict)}
    ends = {f"f{at}": node for at, node in enumerate(tree.values()) if isinstance(node, str)}

    def read(payload: bytes, found: dict[str, bytes]) -> None:
        values = decode(payload)
        for name, path in ends.items():
            found[path] = bytes(getattr(values, name))
        for name, reader in inner.items():
            value = bytes(getattr(values, name))
            if value.startswith(b"{"):
                reader(value, found)

    return read


def _typed_struct(tree: Tree, types: Mapping[str, Any]) -> tuple[type[Any], dict[str, str]]:
    """A struct for the tree, and where in it each path's value is (f0.f1)."""
    members: list[tuple[str, Any, Any]] = []
    getters: dict[str, str] = {}
    for at, node in enumerate(tree.values()):
        name = f"f{at}"
        if isinstance(node, str):
            members.append((name, types[node], None))
            getters[node] = name
        else:
            inner, below = _typed_struct(node, types)
            members.append((name, inner, inner()))
            getters |= {path: f"{name}.{getter}" for path, getter in below.items()}
    names = {f"f{at}": part for at, part in enumerate(tree)}
    return msgspec.defstruct("Object", members, rename=names, frozen=True, gc=False), getters
