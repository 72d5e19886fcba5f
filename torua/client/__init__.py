"""ASKS. The Python client: keys and values, the cluster, graphs, over HTTP.

It sends requests to any of several nodes, tries again what is safe to try again, and
says so where the outcome of a write stays unknown.  It does not cache, it knows no
shards, and it needs neither a running reactor nor Twisted.

    from torua.client import Client

    with Client(["http://127.0.0.1:7440", "http://127.0.0.1:7442"]) as client:
        client.kv.put("greeting", b"hello")
        assert client.kv.get("greeting").data == b"hello"

Threading: a `Client` and what hangs on it may be used from any thread at once, and
blocks the one that calls.  What it returns to iterate over belongs to one thread; only
`Changes.close` may be called from another.  There is no global state.
"""

from torua.client.bulk import BulkResult, Delete, Get, Operation, Put
from torua.client.client import Client
from torua.client.entries import Edge, End, Node
from torua.client.errors import (
    AccessError,
    BadRequestError,
    ClientError,
    ConflictError,
    DiskFullError,
    GoneError,
    NotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    PreconditionError,
    ServerError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
    UnprocessableError,
    UnreachableError,
)
from torua.client.feed import Change, Changes
from torua.client.keys import UNCHANGED, Head, Item, Page, Value
from torua.client.retrying import Retry
from torua.client.rows import Result, Rows
from torua.client.session import Consistency

__all__ = [
    "UNCHANGED",
    "AccessError",
    "BadRequestError",
    "BulkResult",
    "Change",
    "Changes",
    "Client",
    "ClientError",
    "ConflictError",
    "Consistency",
    "Delete",
    "DiskFullError",
    "Edge",
    "End",
    "Get",
    "GoneError",
    "Head",
    "Item",
    "Node",
    "NotFoundError",
    "Operation",
    "OutcomeUnknownError",
    "OverloadedError",
    "Page",
    "PreconditionError",
    "Put",
    "Result",
    "Retry",
    "Rows",
    "ServerError",
    "TooLargeError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnprocessableError",
    "UnreachableError",
    "Value",
]
