"""Values of an answer, column by column, as JSON or CBOR has them.

Scalars are shown as in `torua.storage.leaves`.  What only an answer has:

| type | shown as |
|---|---|
| NODE | ``{"_label", properties…}`` |
| REL | ``{"_label", "_id", "_src", "_dst", properties…}`` |
| RECURSIVE_REL | ``{"nodes": […], "rels": […]}`` |
| INTERNAL_ID of a node, ``_src``, ``_dst`` | ``{"_label", "_key"}`` |
| INTERNAL_ID of a relationship | ``{"_label", "_id"}`` |

``_id`` tells relationships of one type between the same nodes apart, in hexadecimal;
it is null where the statement itself made the relationship.  A node shows the
properties of its own table.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from torua.storage.entities import Entities, Place
from torua.storage.leaves import leaves

_INTERNAL = ("_ID", "_LABEL", "_SRC", "_DST")


class Shower:
    """Turns Arrow columns into lists of plain values.

    Invariants: no value of the engine's own (offsets, table numbers) is shown.
    """

    def __init__(self, entities: Entities | None, raw: bool) -> None:
        """Prepare to show.

        Args:
            entities: names nodes and relationships; None where there are none.
            raw: for CBOR; else for JSON.
        """
        self._entities = entities
        self._raw = raw
        self._kinds: tuple[tuple[Callable[[Any], bool], Callable[..., list[Any]]], ...]
        self._kinds = (
            (at.is_struct, self._structs),
            (at.is_map, self._maps),
            (_is_list, self._lists),
            (at.is_fixed_size_list, self._arrays),
            (at.is_union, self._unions),
        )

    def column(self, column: pa.ChunkedArray, kind: str) -> list[Any]:
        """Show a column.

        Args:
            column: as the engine gives it.
            kind: its type, as the engine names it.
        """
        shown: list[Any] = []
        for chunk in column.chunks:
            shown += self._values(chunk, kind)
        return shown

    def _values(self, array: Any, kind: str) -> list[Any]:
        """Show an array."""
        for fits, shower in self._kinds:
            if fits(array.type):
                return shower(array, kind)
        return leaves(array, kind, self._raw)

    def _structs(self, array: Any, kind: str) -> list[Any]:
        """Show structs, and what the engine makes structs of."""
        names = {array.type.field(i).name for i in range(array.type.num_fields)}
        if "_LABEL" in names:
            shown = self._entity(array, kind, "_SRC" in names)
        elif names == {"_NODES", "_RELS"}:
            nodes = self._values(array.field("_NODES"), kind)
            rels = self._values(array.field("_RELS"), kind)
            pairs = zip(nodes, rels, strict=True)
            shown = [{"nodes": node, "rels": rel} for node, rel in pairs]
        elif names == {"offset", "table"} and _has_ids(kind):
            shown = [self._named(place) for place in places(array)]
        else:
            shown = self._plain(array, kind)
        return _where(array, shown)

    def _plain(self, array: Any, kind: str) -> list[Any]:
        """Show structs that a user made."""
        fields = [array.type.field(i).name for i in range(array.type.num_fields)]
        columns = [self._values(array.field(i), kind) for i in range(len(fields))]
        if not columns:
            return [{} for _ in range(len(array))]
        rows = zip(*columns, strict=True)
        return [dict(zip(fields, row, strict=True)) for row in rows]

    def _entity(self, array: Any, kind: str, relationship: bool) -> list[Any]:
        """Show nodes or relationships."""
        assert self._entities is not None, "nothing was gathered, so there are none"
        labels = array.field("_LABEL").to_pylist()
        columns = self._properties(array, kind, set(labels) - {None})
        found = places(array.field("_ID"))
        ends: list[list[Place | None]] = []
        if relationship:
            ends = [places(array.field(name)) for name in ("_SRC", "_DST")]
        shown: list[Any] = []
        for at_row, label in enumerate(labels):
            place = found[at_row]
            if label is None or place is None:
                shown.append(None)
                continue
            made: dict[str, Any] = {"_label": label}
            if relationship:
                made["_id"] = self._entities.edge_id(place)
                made["_src"] = self._named(ends[0][at_row])
                made["_dst"] = self._named(ends[1][at_row])
            own = self._entities.columns[label]
            made |= {name: columns[name][at_row] for name in own if name in columns}
            shown.append(made)
        return shown

    def _properties(self, array: Any, kind: str, labels: set[str]) -> dict[str, Any]:
        """Show all properties of nodes or relationships, by name."""
        assert self._entities is not None, "nothing was gathered, so there are none"
        found = {}
        for i in range(array.type.num_fields):
            name = array.type.field(i).name
            if name in _INTERNAL:
                continue
            values = array.field(i)
            if at.is_duration(values.type):
                found[name] = self._spans_of(array, name)
            else:
                found[name] = self._values(values, self._entities.kind(name))
        return found

    def _spans_of(self, array: Any, name: str) -> list[Any]:
        """Show the INTERVALs of nodes or relationships, of which months matter."""
        assert self._entities is not None, "nothing was gathered, so there are none"
        return [
            None if place is None else self._entities.span(place, name)
            for place in places(array.field("_ID"))
        ]

    def _named(self, place: Place | None) -> object:
        """Show what the engine names by numbers."""
        if place is None:
            return None
        assert self._entities is not None, "nothing was gathered, so there are none"
        return self._entities.name(place)

    def _lists(self, array: Any, kind: str) -> list[Any]:
        """Show lists."""
        items = self._values(array.values, kind)
        bounds = array.offsets.to_pylist()
        pairs = itertools.pairwise(bounds)
        return _where(array, [items[start:end] for start, end in pairs])

    def _arrays(self, array: Any, kind: str) -> list[Any]:
        """Show lists of one length."""
        size = array.type.list_size
        items = self._values(array.flatten(), kind)
        shown, start = [], 0
        for valid in array.is_valid().to_pylist():
            shown.append(items[start : start + size] if valid else None)
            start += size if valid else 0
        return shown

    def _maps(self, array: Any, kind: str) -> list[Any]:
        """Show maps: as objects where keys are text, else as pairs."""
        keys = self._values(array.keys, kind)
        items = self._values(array.items, kind)
        pairs = [list(pair) for pair in zip(keys, items, strict=True)]
        bounds = array.offsets.to_pylist()
        shown: list[Any] = [
            pairs[start:end] for start, end in itertools.pairwise(bounds)
        ]
        if at.is_string(array.type.key_type):
            shown = [dict(each) for each in shown]
        return _where(array, shown)

    def _unions(self, array: Any, kind: str) -> list[Any]:
        """Show unions: as objects that name the alternative."""
        names = [array.type.field(i).name for i in range(array.type.num_fields)]
        values = [self._values(array.field(i), kind) for i in range(len(names))]
        codes = array.type_codes.to_pylist()
        places = array.offsets.to_pylist()
        pairs = zip(codes, places, strict=True)
        return [{names[code]: values[code][place]} for code, place in pairs]


def _is_list(kind: Any) -> bool:
    """Tell whether a type is of lists of any length."""
    return bool(at.is_list(kind) or at.is_large_list(kind))


def _has_ids(kind: str) -> bool:
    """Tell whether there are internal ids in a type."""
    return "INTERNAL_ID" in kind


def places(array: Any) -> list[Place | None]:
    """Return what internal ids name; None for NULL.

    Args:
        array: of structs, as the engine gives them.
    """
    numbers = array.field("table").to_pylist()
    offsets = array.field("offset").to_pylist()
    valid = array.is_valid().to_pylist()
    rows = zip(valid, numbers, offsets, strict=True)
    return [(number, offset) if there else None for there, number, offset in rows]


def _where(array: Any, shown: Sequence[Any]) -> list[Any]:
    """Put None where an array has NULL."""
    if not array.null_count:
        return list(shown)
    valid = array.is_valid().to_pylist()
    return [each if there else None for there, each in zip(valid, shown, strict=True)]
