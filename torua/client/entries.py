"""Nodes and relationships, one at a time."""

from collections.abc import Mapping
from typing import Any

import cbor2
import msgspec
from msgspec import Struct

from torua.client.errors import NotFoundError
from torua.client.keys import written_version
from torua.client.session import Consistency
from torua.client.targets import property_text, segment, write_headers
from torua.client.transport import Answer, Request, T, Transport

CBOR = "application/cbor"
Properties = Mapping[str, object]
Asked = tuple[Mapping[str, object], Mapping[str, str]]


class Node(Struct, frozen=True):
    """A node: its table, key and properties, spelled as docs/graph.md has them."""

    table: str
    key: Any
    version: int
    properties: dict[str, Any]


class End(Struct, frozen=True):
    """A node at the end of a relationship."""

    table: str
    key: Any


class Edge(Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """A relationship; ``id`` tells it from others between the same two nodes."""

    table: str
    source: End
    target: End
    id: str
    version: int
    properties: dict[str, Any]


class Entries:
    """Nodes and relationships of one graph; docs/graph.md says how values are spelled.

    Every method takes ``timeout_s``, for this call with all its attempts.  Every write
    carries an idempotency key, so that it is done once, however often it is sent.

    Invariants: it keeps nothing between two calls but the session.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        """Ask by ``transport`` for a graph of a name."""
        self._transport = transport
        self.name = name

    def get_node(
        self,
        table: str,
        key: object,
        *,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Node | None:
        """Return a node; None where there is none.

        Args:
            table: its table.
            key: its primary key.
            consistency: how fresh.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: for all attempts.

        Raises:
            NotFoundError: there is no such table.
        """
        path = node_path(table, key)
        freshness = self._transport.session.asks(consistency, max_staleness_s)
        return self._get(path, Node, {}, freshness, timeout_s)

    def put_node(  # noqa: PLR0913
        self,
        table: str,
        key: object,
        properties: Properties | None = None,
        *,
        if_version: int | None = None,
        if_absent: bool = False,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Have a node there with these properties and no others; return its version.

        Args:
            table: its table.
            key: its primary key.
            properties: by name; those that are not named get their defaults.
            if_version: the version that it must have.
            if_absent: whether it must not be there.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.
        """
        path = node_path(table, key)
        held = write_headers(if_version, if_absent, idempotency_key)
        answer = self._write("PUT", path, {}, held, properties or {}, timeout_s)
        return written_version(answer)

    def patch_node(  # noqa: PLR0913
        self,
        table: str,
        key: object,
        properties: Properties,
        *,
        if_version: int | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Change some properties of a node; return its version.

        Args:
            table: its table.
            key: its primary key.
            properties: by name; those that are not named stay.
            if_version: the version that it must have.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.

        Raises:
            NotFoundError: there is no such node.
        """
        path = node_path(table, key)
        held = write_headers(if_version, False, idempotency_key)
        answer = self._write("PATCH", path, {}, held, properties, timeout_s)
        return written_version(answer)

    def delete_node(  # noqa: PLR0913
        self,
        table: str,
        key: object,
        *,
        detach: bool = False,
        if_version: int | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Delete a node, there or not.

        Args:
            table: its table.
            key: its primary key.
            detach: whether its relationships go with it.
            if_version: the version that it must have.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.

        Raises:
            ConflictError: it has relationships.
        """
        path = node_path(table, key)
        held = write_headers(if_version, False, idempotency_key)
        self._write("DELETE", path, {"detach": detach or None}, held, None, timeout_s)

    def get_edge(  # noqa: PLR0913
        self,
        table: str,
        source: object,
        target: object,
        *,
        source_table: str | None = None,
        target_table: str | None = None,
        id: str | None = None,
        timeout_s: float | None = None,
    ) -> Edge | None:
        """Return a relationship; None where there is none.

        Args:
            table: its table.
            source: key of the node that it goes from.
            target: key of the node that it goes to.
            source_table: of the first, where the table joins several pairs.
            target_table: of the second, likewise.
            id: which of several.
            timeout_s: for all attempts.
        """
        path = edge_path(table, source, target)
        which = _which(source_table, target_table, id)
        return self._get(path, Edge, which, ({}, {}), timeout_s)

    def put_edge(  # noqa: PLR0913
        self,
        table: str,
        source: object,
        target: object,
        properties: Properties | None = None,
        *,
        source_table: str | None = None,
        target_table: str | None = None,
        id: str | None = None,
        if_version: int | None = None,
        if_absent: bool = False,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Have a relationship there with these properties; return its version.

        Args:
            table: its table.
            source: key of the node that it goes from.
            target: key of the node that it goes to.
            properties: by name.
            source_table: of the first, where the table joins several pairs.
            target_table: of the second, likewise.
            id: which of several.
            if_version: the version that it must have.
            if_absent: whether it must not be there.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.

        Raises:
            NotFoundError: one of the nodes is not there.
        """
        path = edge_path(table, source, target)
        which = _which(source_table, target_table, id)
        held = write_headers(if_version, if_absent, idempotency_key)
        answer = self._write("PUT", path, which, held, properties or {}, timeout_s)
        return written_version(answer)

    def delete_edge(  # noqa: PLR0913
        self,
        table: str,
        source: object,
        target: object,
        *,
        source_table: str | None = None,
        target_table: str | None = None,
        id: str | None = None,
        if_version: int | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Delete a relationship, there or not.

        Args:
            table: its table.
            source: key of the node that it goes from.
            target: key of the node that it goes to.
            source_table: of the first, where the table joins several pairs.
            target_table: of the second, likewise.
            id: which of several.
            if_version: the version that it must have.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.
        """
        path = edge_path(table, source, target)
        which = _which(source_table, target_table, id)
        held = write_headers(if_version, False, idempotency_key)
        self._write("DELETE", path, which, held, None, timeout_s)

    def _get(
        self,
        path: str,
        kind: type[T],
        which: Mapping[str, object],
        asked: tuple[Mapping[str, str], Mapping[str, str]],
        timeout_s: float | None,
    ) -> T | None:
        """Ask for a row; None where its table is there, but not the row."""
        fresh, headers = asked
        parameters = {**fresh, **which, "graph": self.name}
        request = Request("GET", path, parameters, headers, timeout_s=timeout_s)
        try:
            return self._transport.ask(request).read(kind)
        except NotFoundError as error:
            if "shard" in error.members:
                return None
            raise

    def _write(  # noqa: PLR0913, PLR0917
        self,
        method: str,
        path: str,
        parameters: Mapping[str, object],
        headers: dict[str, str],
        properties: Properties | None,
        timeout_s: float | None,
    ) -> Answer:
        """Send a write of a row."""
        body = None
        if properties is not None:
            headers["Content-Type"] = CBOR
            body = spelled(properties)
        request = Request(
            method,
            path,
            {**parameters, "graph": self.name},
            headers,
            body,
            writes=True,
            timeout_s=timeout_s,
        )
        return self._transport.ask(request)


def spelled(values: object) -> bytes:
    """Spell values in CBOR as nodes take them: dates, decimals and UUIDs as text.

    Raises:
        TypeError: a value is of a kind that no property has.
    """
    return cbor2.dumps(msgspec.to_builtins(values, builtin_types=(bytes,)))


def node_path(table: str, key: object) -> str:
    """Spell the path of a node.

    Args:
        table: its table.
        key: its primary key.
    """
    return f"/graph/nodes/{segment(table)}/{segment(property_text(key))}"


def edge_path(table: str, source: object, target: object) -> str:
    """Spell the path of a relationship.

    Args:
        table: its table.
        source: key of the node that it goes from.
        target: key of the node that it goes to.
    """
    ends = f"{segment(property_text(source))}/{segment(property_text(target))}"
    return f"/graph/edges/{segment(table)}/{ends}"


def _which(
    source_table: str | None, target_table: str | None, id: str | None
) -> dict[str, object]:
    """Say which of several relationships is meant."""
    return {"from_table": source_table, "to_table": target_table, "id": id}
