"""Keys and values: one at a time, lists, many in one request, and their changes."""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, Literal

from msgspec import Struct

from torua.client.bulk import BulkResult, Operation, send_bulk
from torua.client.errors import NotFoundError, unexpected
from torua.client.feed import Changes
from torua.client.session import Consistency
from torua.client.targets import (
    Bytes,
    as_bytes,
    fresh_key,
    key_path,
    version_of,
    write_headers,
)
from torua.client.transport import Answer, Request, Transport

DEFAULT_CONTENT_TYPE = "application/octet-stream"
PAGE_KEYS = 1000
"""As many as a node lists at once."""


class Unchanged(Enum):
    """What `Keys.get_if_changed` returns where the caller has the value already."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class Value(Struct, frozen=True):
    """A value, the version of its key, and the type that it was stored with."""

    data: bytes
    version: int
    content_type: str


class Head(Struct, frozen=True):
    """What is known of a value without reading it; ``size`` in bytes."""

    version: int
    content_type: str
    size: int


class Item(Struct, frozen=True):
    """One key in a list; ``value`` is None where values were not asked for."""

    key: str
    version: int
    size: int
    value: bytes | None = None


class Page(Struct, frozen=True):
    """A part of a list; ``next`` is what the next one begins after, None at the end."""

    items: tuple[Item, ...]
    next: str | None


class _WireItem(Struct, frozen=True):
    """One key of a list in JSON."""

    key: str
    version: int
    size: int
    value: str | None = None
    value_base64: bytes | None = None


class _WirePage(Struct, frozen=True):
    """A part of a list in JSON."""

    items: tuple[_WireItem, ...]
    next: str | None


class Keys:
    """``client.kv``: keys are text of 1 to 1,024 bytes of UTF-8, values any bytes.

    Every method takes ``timeout_s``, for this call with all its attempts.  Every write
    carries an idempotency key, so that it is done once, however often it is sent.

    Invariants: it keeps nothing between two calls but the session.
    """

    def __init__(self, transport: Transport) -> None:
        """Ask by ``transport``."""
        self._transport = transport

    def get(
        self,
        key: str,
        *,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Value | None:
        """Return the value of a key; None where there is none.

        Args:
            key: which.
            consistency: how fresh; the client's own if not given.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: for all attempts.
        """
        freshness = (consistency, max_staleness_s)
        answer = self._read("GET", key, freshness, timeout_s)
        return None if answer is None else _value(answer)

    def get_if_changed(
        self,
        key: str,
        version: int,
        *,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Value | Literal[Unchanged.UNCHANGED] | None:
        """Return a value, or `UNCHANGED` where the key still has a version.

        Args:
            key: which.
            version: that the caller has.
            consistency: how fresh.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: for all attempts.
        """
        freshness = (consistency, max_staleness_s)
        answer = self._read("GET", key, freshness, timeout_s, version)
        if answer is None:
            return None
        return UNCHANGED if answer.status == 304 else _value(answer)

    def head(
        self,
        key: str,
        *,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Head | None:
        """Return version, type and size of a value; None where there is none.

        Args:
            key: which.
            consistency: how fresh.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: for all attempts.
        """
        freshness = (consistency, max_staleness_s)
        answer = self._read("HEAD", key, freshness, timeout_s)
        if answer is None:
            return None
        size = int(answer.headers.get("Content-Length", "0"))
        return Head(written_version(answer), _content_type(answer), size)

    def put(  # noqa: PLR0913
        self,
        key: str,
        value: Bytes,
        *,
        if_version: int | None = None,
        if_absent: bool = False,
        ttl_s: float | None = None,
        content_type: str = DEFAULT_CONTENT_TYPE,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Put a value; return the version that the key has now.

        Args:
            key: to put to.
            value: any bytes, up to 16 MiB.
            if_version: the version that the key must have.
            if_absent: whether it must have none.
            ttl_s: after how many seconds the key goes, above 0.
            content_type: kept with it.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.

        Raises:
            PreconditionError: the version is another.
            OutcomeUnknownError: it may or may not have happened.
            ClientError: see `torua.client.errors`.
        """
        headers = write_headers(if_version, if_absent, idempotency_key)
        headers["Content-Type"] = content_type
        ttl = None if ttl_s is None else format(ttl_s, ".6f")
        request = Request(
            "PUT",
            key_path(key),
            {"ttl": ttl},
            headers,
            as_bytes(value),
            writes=True,
            timeout_s=timeout_s,
        )
        return written_version(self._transport.ask(request))

    def delete(
        self,
        key: str,
        *,
        if_version: int | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Delete a key, there or not.

        Args:
            key: which.
            if_version: the version that it must have.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.

        Raises:
            PreconditionError: the version is another.
            OutcomeUnknownError: it may or may not have happened.
        """
        headers = write_headers(if_version, False, idempotency_key)
        path = key_path(key)
        self._transport.ask(
            Request("DELETE", path, {}, headers, writes=True, timeout_s=timeout_s)
        )

    def list(  # noqa: PLR0913
        self,
        prefix: str = "",
        *,
        after: str = "",
        values: bool = False,
        page_size: int = PAGE_KEYS,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[Item]:
        """Yield keys in the order of their bytes, page after page as they are needed.

        Args:
            prefix: what they begin with.
            after: where to begin, exclusive.
            values: whether their values come along.
            page_size: how many to ask for at once, up to 1,000.
            consistency: how fresh; each page is read by itself.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: for each page.
        """
        following: str | None = after
        while following is not None:
            page = self.page(
                prefix,
                after=following,
                values=values,
                limit=page_size,
                consistency=consistency,
                max_staleness_s=max_staleness_s,
                timeout_s=timeout_s,
            )
            yield from page.items
            following = page.next

    def page(  # noqa: PLR0913
        self,
        prefix: str = "",
        *,
        after: str = "",
        values: bool = False,
        limit: int = PAGE_KEYS,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Page:
        """Return one page of a list; it may be shorter than asked for.

        Args:
            prefix: what the keys begin with.
            after: where to begin, exclusive: `Page.next` of the page before.
            values: whether their values come along.
            limit: how many at most, up to 1,000.
            consistency: how fresh.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: for all attempts.
        """
        fresh, headers = self._transport.session.asks(consistency, max_staleness_s)
        parameters = {
            **fresh,
            "prefix": prefix or None,
            "after": after or None,
            "limit": limit,
            "values": values or None,
        }
        request = Request("GET", "/kv", parameters, headers, timeout_s=timeout_s)
        page = self._transport.ask(request).read(_WirePage)
        return Page(tuple(map(_item, page.items)), page.next)

    def bulk(
        self,
        operations: Iterable[Operation],
        *,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> tuple[BulkResult, ...]:
        """Do many operations in one request; return a result for each, in order.

        Operations on one key keep their order; those of different keys are not one
        transaction.  What could not be done at once is tried again with the rest.

        Args:
            operations: up to 10,000, of 32 MiB in all.
            idempotency_key: equal ones promise equal requests; made if not given.
            timeout_s: for all attempts.

        Raises:
            TooLargeError: they are too many.
            OutcomeUnknownError: nobody knows of any of them.
        """
        key = idempotency_key or fresh_key()
        return send_bulk(self._transport, operations, key, timeout_s)

    def changes(self, prefix: str = "", *, since: str = "") -> Changes:
        """Follow what changes, from now on or from a place; it does not end by itself.

        Args:
            prefix: of the keys.
            since: the `Change.id` that was seen last, or ``earliest``; now if empty.
        """
        return Changes(self._transport, prefix, since)

    def _read(
        self,
        method: str,
        key: str,
        freshness: tuple[Consistency | None, float | None],
        timeout_s: float | None,
        version: int | None = None,
    ) -> Answer | None:
        """Ask for a key; None where there is none."""
        fresh, headers = self._transport.session.asks(*freshness)
        if version is not None:
            headers = {**headers, "If-None-Match": f'"{version}"'}
        request = Request(method, key_path(key), fresh, headers, timeout_s=timeout_s)
        try:
            return self._transport.ask(request)
        except NotFoundError as error:
            if error.code == "not-found" or method == "HEAD":
                return None
            raise


def _item(item: _WireItem) -> Item:
    """Read one key of a list."""
    value = item.value_base64
    if item.value is not None:
        value = item.value.encode()
    return Item(item.key, item.version, item.size, value)


def _value(answer: Answer) -> Value:
    """Read a value."""
    return Value(answer.body, written_version(answer), _content_type(answer))


def _content_type(answer: Answer) -> str:
    """Read the type of a value."""
    return answer.headers.get("Content-Type", DEFAULT_CONTENT_TYPE)


def written_version(answer: Answer) -> int:
    """Read the version that an answer must bring."""
    version = version_of(answer.headers)
    if version is None:
        raise unexpected("an answer without a version", answer.endpoint)
    return version
