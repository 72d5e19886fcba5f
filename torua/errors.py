"""The trouble Torua expects.  Each exception says who must do what about it.

An error has a `code`, which travels between nodes and which the HTTP room alone turns
into a status, and `members`, further facts for the caller (``shard``, ``retry_after``).
"""

from typing import ClassVar


class ToruaError(Exception):
    """Something that is expected to happen, and that the caller must handle.

    Invariants: `code` is unique among the subclasses; `detail` is one sentence for
    people; `members` holds only what CBOR and JSON can both spell; `told` is set only
    on what another node reported.
    """

    code: ClassVar[str] = "internal"
    told = False

    def __init__(self, detail: str = "", **members: int | float | str | None) -> None:
        """Say what happened.

        Args:
            detail: one sentence for the person who reads it.
            members: further facts for the program that reads it.
        """
        super().__init__(detail)
        self.detail = detail
        self.members = members


class MalformedError(ToruaError):
    """The request cannot be understood; the caller must change it."""

    code = "malformed"


class NotFoundError(ToruaError):
    """What was asked for does not exist."""

    code = "not-found"


class ConflictError(ToruaError):
    """The state of the cluster forbids it now."""

    code = "conflict"


class PreconditionError(ToruaError):
    """A condition that the caller set does not hold; read again, decide again."""

    code = "precondition-failed"


class TooLargeError(ToruaError):
    """A limit on size; the caller must send less."""

    code = "too-large"


class UnprocessableError(ToruaError):
    """Well formed but wrong in meaning; the caller must change it."""

    code = "unprocessable"


class InvalidError(UnprocessableError):
    """Some of what was given together is wrong, and so nothing was done.

    Invariants: ``faults`` names all that is wrong, each with why, and is not empty but
    where another node reported it.
    """

    code = "invalid"

    def __init__(
        self,
        detail: str = "",
        faults: tuple[tuple[str, str], ...] = (),
        **members: int | float | str | None,
    ) -> None:
        """Say what is wrong.

        Args:
            detail: one sentence for the person who reads it.
            faults: what is wrong, and why.
            members: further facts for the program that reads it.
        """
        super().__init__(detail, **members)
        self.faults = faults


class QueryTooLargeError(UnprocessableError):
    """A query would read more than is allowed; the caller must ask for less."""

    code = "query-too-large"


class QueryTimeoutError(UnprocessableError):
    """A query took longer than the caller gave it; nothing was changed."""

    code = "query-timeout"


class DuplicateError(ConflictError):
    """What was to be made exists already; to run it anew would end the same."""

    code = "duplicate"


class RelatedError(ConflictError):
    """A node that was to be deleted has relationships; detach it, or delete them."""

    code = "related"


class StaleSchemaError(ConflictError):
    """Planned with another schema, it did nothing, and is to be planned anew."""

    code = "stale-schema"


class GoneError(ToruaError):
    """It was there once; go on from ``earliest``, which still is."""

    code = "gone"


class OverloadedError(ToruaError):
    """A queue is full; nothing was done; the caller may retry after ``retry_after``."""

    code = "overloaded"


class UnavailableError(ToruaError):
    """No primary, no quorum or too few copies; nothing was done; retry later."""

    code = "unavailable"


class StaleRouteError(ToruaError):
    """The sender's routing is older than ours; it refreshes and tries again."""

    code = "stale-route"


class MovedError(UnavailableError):
    """What was asked of a shard is another's now; nothing was done; route it anew."""

    code = "moved"


class OutcomeUnknownError(ToruaError):
    """The write may or may not have happened; the caller must look."""

    code = "outcome-unknown"


class DiskFullError(ToruaError):
    """No room left; nothing was done; the operator must make room."""

    code = "disk-full"


class DiskError(ToruaError):
    """The disk failed; what was being kept may be lost; the node must stop."""

    code = "disk-failed"


class ProtocolError(ToruaError):
    """A peer sent what no correct peer sends.  Drop it, count it, close."""

    code = "protocol"


class StartupError(ToruaError):
    """The node cannot start as it was told; the operator must change something."""

    code = "startup"


class CorruptionError(StartupError):
    """What lies on the disk is not what was written; never serve it."""

    code = "corruption"


def _family(kind: type[ToruaError]) -> dict[str, type[ToruaError]]:
    """Index an error class and all below it by code."""
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _family(child)
    return found


ERRORS = _family(ToruaError)
"""Every expected error by its code, to bring one back from the wire."""


def from_wire(code: str, detail: str, members: dict[str, object]) -> ToruaError:
    """Make again the error that another node reported.

    Args:
        code: its `ToruaError.code`; an unknown one becomes a plain `ToruaError`.
        detail: its sentence.
        members: its further facts; what is not a scalar is left out.
    """
    scalars = {
        name: value
        for name, value in members.items()
        if isinstance(value, int | float | str | None)
    }
    error = ERRORS.get(code, ToruaError)(detail, **scalars)
    error.told = True
    return error
