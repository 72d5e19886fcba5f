"""Finding ports on loopback for a local cluster.

A port is free until a node listens on it, which takes a second: who starts a cluster
meanwhile would choose the same.  So ports are claimed, by names of sockets that two
processes cannot have at once and that end with the process.
"""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

HOST = "127.0.0.1"
FIRST_HTTP_PORT = 7440
_PAIRS_MAX = 1000


def choose(
    wanted: Sequence[tuple[int, int] | None], claims: ExitStack
) -> list[tuple[int, int]]:
    """Choose an HTTP and a cluster port for each node.

    The first choice is what is ``wanted``, the second the pair of the node's place:
    7440 and 7441, then 7442 and 7443, and so on; the last any free pair after those.

    Args:
        wanted: the ports that each node had before; None for a new node.
        claims: the ports are nobody else's until it is closed.
    """
    chosen: list[tuple[int, int]] = []
    asked_for = {port for pair in wanted if pair for port in pair}
    for place, pair in enumerate(wanted):
        taken = {port for ports in chosen for port in ports}
        others = (asked_for - set(pair or ())) | taken
        usual = FIRST_HTTP_PORT + 2 * place
        candidates = [*([pair] if pair else []), (usual, usual + 1)]
        after = FIRST_HTTP_PORT + 2 * len(wanted)
        candidates += [(port, port + 1) for port in range(after, after + _PAIRS_MAX, 2)]
        found = (each for each in candidates if _free(each, others))
        chosen.append(next(each for each in found if _claim(each, claims)))
    return chosen


def _claim(pair: tuple[int, int], claims: ExitStack) -> bool:
    """Claim a pair of ports, unless somebody has."""
    with ExitStack() as held:
        for port in pair:
            claim = held.enter_context(socket.socket(socket.AF_UNIX))
            try:
                claim.bind(f"\0torua-up-{port}")
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                raise
        claims.enter_context(held.pop_all())
    return True


def _free(pair: tuple[int, int], others: set[int]) -> bool:
    """Tell whether a pair of ports is free; a cluster port both for TCP and UDP."""
    http, cluster = pair
    return (
        not others & {http, cluster}
        and _can_bind(socket.SOCK_STREAM, http)
        and _can_bind(socket.SOCK_STREAM, cluster)
        and _can_bind(socket.SOCK_DGRAM, cluster)
    )


def _can_bind(kind: socket.SocketKind, port: int) -> bool:
    """Tell whether a node could listen on a port."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True
