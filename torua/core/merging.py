"""One listing out of the listings of many shards."""

from collections.abc import Sequence

from torua.core.kv import Entry, Page


def merge(pages: Sequence[Page], limit: int) -> Page:
    """Merge pages of disjoint keys, each in order, into one page in order.

    A page that has a ``next`` says nothing about keys after that, so the merged page
    ends with the least of those: a key is listed only when every shard has spoken of
    all keys before it.

    Args:
        pages: what each shard listed after the same key.
        limit: at most so many keys, 1 or more.
    """
    items = sorted((item for page in pages for item in page.items), key=_key)
    ends = [page.next for page in pages if page.next is not None]
    if ends:
        items = [item for item in items if item.key <= min(ends)]
    kept = tuple(items[:limit])
    more = bool(ends) or len(items) > limit
    last = kept[-1].key if len(items) >= limit else min(ends, default=b"")
    return Page(kept, last if more else None)


def _key(item: Entry) -> bytes:
    """Return what listings are ordered by."""
    return item.key
