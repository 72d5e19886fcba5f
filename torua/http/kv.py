"""Keys and values, one at a time, and lists of keys."""

from torua.core.kv import (
    DEFAULT_CONTENT_TYPE,
    Condition,
    Delete,
    Entry,
    Page,
    Put,
    Served,
)
from torua.errors import MalformedError, NotFoundError, PreconditionError
from torua.http import parameters
from torua.http.limits import CONTENT_TYPE_BYTES_MAX
from torua.http.messages import Answer, Ask, spelled
from torua.http.problems import MediaTypeError
from torua.http.seams import KeyValue
from torua.http.values import spell_value

LIST_DEFAULT = 100
LIST_MAX = 1000


class KeyValueHandlers:
    """Answers ``/kv``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, key_value: KeyValue, node_name: str) -> None:
        """Serve from ``key_value``.

        Args:
            key_value: where keys and values live.
            node_name: this node's, which puts lists together.
        """
        self._key_value = key_value
        self._node_name = node_name

    async def get(self, ask: Ask) -> Answer:
        """Answer GET and HEAD of a key; 304 where the caller has it already."""
        key = parameters.key_bytes(ask.variables["key"])
        conditions = parameters.conditions(ask.headers)
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, reading=parameters.reading(ask))
        entry, served = await self._key_value.get(key, call)
        if entry is None:
            raise NotFoundError("no such key", shard=served.shard)
        headers = _served(served, entry.version)
        if conditions and _has_it_already(conditions, entry):
            return Answer(304, headers)
        headers = (*headers, ("X-Content-Type-Options", "nosniff"))
        return Answer(200, headers, entry.value or b"", entry.content_type)

    async def put(self, ask: Ask) -> Answer:
        """Answer PUT of a key."""
        key = parameters.key_bytes(ask.variables["key"])
        conditions = parameters.conditions(ask.headers)
        ttl_s = parameters.ttl_s(ask.query)
        put = Put(key, ask.body, _content_type(ask), ttl_s, conditions)
        return await self._write(put, ask)

    async def delete(self, ask: Ask) -> Answer:
        """Answer DELETE of a key."""
        key = parameters.key_bytes(ask.variables["key"])
        return await self._write(Delete(key, parameters.conditions(ask.headers)), ask)

    async def list(self, ask: Ask) -> Answer:
        """Answer GET of a list of keys.

        A page may be shorter than asked; only a null ``next`` is the end.
        """
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, reading=parameters.reading(ask))
        bounds = range(1, LIST_MAX + 1)
        values = parameters.boolean(ask.query, "values")
        page = await self._key_value.scan(
            parameters.key_part(ask.query, "prefix"),
            parameters.key_part(ask.query, "after"),
            parameters.whole(ask.query, "limit", LIST_DEFAULT, bounds),
            values,
            call,
        )
        served = (("Torua-Served-By", self._node_name),)
        return spelled(ask, _page(page, values=values, raw=ask.wants_cbor), served)

    async def _write(self, operation: Put | Delete, ask: Ask) -> Answer:
        """Do one write, and answer with the version that the key has now."""
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, parameters.idempotency(ask))
        outcome, served = await self._key_value.write(operation, call)
        return Answer(204, _served(served, outcome.version))


def _served(served: Served, version: int | None) -> tuple[tuple[str, str], ...]:
    """Say in headers who served what."""
    headers = [("Torua-Shard", str(served.shard)), ("Torua-Served-By", served.node)]
    if served.token:
        headers.append(("Torua-Token", served.token))
    if version is not None:
        headers.append(("ETag", parameters.etag(version)))
    return tuple(headers)


def _has_it_already(conditions: tuple[Condition, ...], entry: Entry) -> bool:
    """Tell whether the conditions of a read say that the caller has the value.

    Raises:
        PreconditionError: If-Match does not hold.
    """
    failed = [each for each in conditions if not each.holds(entry.version)]
    if any(each.match for each in failed):
        raise PreconditionError("If-Match does not hold", version=entry.version)
    return bool(failed)


def _content_type(ask: Ask) -> str:
    """Return the type to store with a value; what cannot be stored is refused."""
    if "content-range" in ask.headers:
        raise MalformedError("Content-Range: a value is put whole")
    if ask.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeError("Content-Encoding: only identity, it would not be kept")
    content_type = ask.headers.get("content-type") or DEFAULT_CONTENT_TYPE
    if len(content_type) > CONTENT_TYPE_BYTES_MAX:
        raise MalformedError(f"Content-Type: up to {CONTENT_TYPE_BYTES_MAX} bytes")
    return content_type


def _page(page: Page, *, values: bool, raw: bool) -> dict[str, object]:
    """Spell a part of a list."""
    items = []
    for entry in page.items:
        item: dict[str, object] = {
            "key": entry.key.decode(),
            "version": entry.version,
            "size": entry.size,
        }
        if values:
            item |= spell_value(entry.value or b"", raw=raw)
        items.append(item)
    return {"items": items, "next": page.next.decode() if page.next else None}
