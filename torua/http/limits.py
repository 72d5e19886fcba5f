"""A named limit at every door of the HTTP room, with its reason."""

REQUEST_LINE_BYTES_MAX = 12 << 10
"""A key of 1,024 bytes takes 3 KiB percent-encoded; a listing names two."""

HEADERS_BYTES_MAX = 24 << 10
"""The request line and all headers; what common proxies let pass."""

HEADERS_MAX = 100
"""So many header lines nobody needs."""

OTHER_BODY_BYTES_MAX = 64 << 10
"""For requests that take no body: it is read and dropped, to keep the connection."""

SMALL_BODY_BYTES = 256 << 10
"""Up to here the body of a request that is refused is read and dropped, to keep the
connection; to read a larger one costs more than another connection."""

GLANCE_BYTES = 4 << 10
"""So much of a body comes with its head: nothing is spared by refusing it before."""

TOO_MUCH = "the node has too much to do"
"""What is said where admission refuses."""

HELD_BYTES_MAX = 256 << 20
"""Request bodies held at once by the node: eight of the largest, or 429."""

UNREAD_BYTES_MAX = 512 << 20
"""Large answers that wait for their clients to take them: 32 of the largest, or 429;
without it, clients that take nothing could have a node hold 16 GiB."""

CONNECTIONS_MAX = 1000
"""Leaves file descriptors for peers and logs where a process may have 1,024 …"""

CONTENT_TYPE_BYTES_MAX = 255
"""It is stored with every value, and kept in memory with every key."""

TIMEOUT_MS_MAX = 60_000
"""How long a caller may have a node wait."""

IDLE_S = 60
"""A connection without a request is closed after this."""

HEADERS_S = 15.0
"""How long a client may take over its request line and headers."""

BODY_S = 30.0
"""How long it may take over its body, and besides …"""

BODY_BYTES_PER_S = 64 << 10
"""… a second for so many bytes; who sends slower holds memory for too long."""

STREAM_BYTES_MAX = 1 << 40
"""A streamed body is never held; what it fills is a disk."""

INTAKE_BYTES = 512 << 10
"""So much of a streamed body waits to be taken before its client is made to wait."""

STREAM_STALL_S = 30.0
"""How long a client that is not made to wait may send nothing of a streamed body."""

STALL_S = 30.0
"""How long a client may leave a large answer unread before it is cut off."""

LINGER_S = 5.0
"""How long a refused body is read and dropped: a client that is still sending when
the connection is reset never sees the refusal."""

PIECE_BYTES = 64 << 10
"""Larger answers are written in such pieces, as the client takes them."""

DRAIN_S = 8.0
"""How long a node that stops waits for requests in flight; the stop has 15 s in all."""
