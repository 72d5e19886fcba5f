"""How two nodes find out that they belong together, before anything else is said.

::

    dialler                                  acceptor
    Hello (who, cluster, nonce, target)  ->
                                         <-  Hello, or Refusal
    Proof (of the secret, if any)        ->
                                         <-  Proof: welcome, or Refusal

The dialler's proof is the point of no return: with it the acceptor takes the
connection, and may give up another for it; so nobody without the secret can cut a
connection by a Hello.  With a secret each side proves that it knows it over both
Hellos, so over both nonces, identities and roles; every later frame is sealed
(`torua.codec.seals`).

Nothing here waits or touches a socket.
"""

import hmac
from enum import Enum
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from torua.codec.frames import Seal
from torua.codec.plain import read, spell
from torua.codec.seals import Sealed, derive, prove
from torua.core.builds import BUILD, Build, gap, mismatch
from torua.core.ids import NodeId

HELLO_BYTES_MAX = 4 << 10
"""A Hello is some 300 bytes; strangers get no more room than this."""

NONCE_BYTES = 32

REASONS = frozenset(
    ("build", "cluster", "secret", "self", "target", "epoch", "crossed")
)
"""Every `Refusal.reason` there is."""

DETAIL_CHARACTERS_MAX = 1024

Word = Annotated[str, Meta(max_length=256)]
Epoch = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Identity(NamedTuple):
    """Who a node is, in one of its lives."""

    node_id: NodeId
    name: str
    boot_epoch: int


class Hello(Struct, frozen=True, tag="hello"):
    """Who I am, and whom I take you for.

    Attributes:
        build: what I speak and can store.
        feature_level: my cluster's; 0 before I belong to one.
        cluster_name: as the operator set it.
        cluster_uuid: empty before I belong to a cluster.
        target: whom I dialled; empty in the acceptor's.
        secured: whether I have a secret.
        nonce: fresh and random.
    """

    build: Build
    feature_level: Annotated[int, Meta(ge=0)]
    cluster_name: Word
    cluster_uuid: Word
    node_id: Word
    boot_epoch: Epoch
    name: Word
    target: Word
    secured: bool
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]

    @property
    def identity(self) -> Identity:
        """Tell who says so."""
        return Identity(NodeId(self.node_id), self.name, self.boot_epoch)


class Proof(Struct, frozen=True, tag="proof"):
    """I know the secret; empty where there is none."""

    mac: Annotated[bytes, Meta(max_length=32)]


class Refusal(Struct, frozen=True, tag="refusal"):
    """I will not talk to you: a word for programs, a sentence for people."""

    reason: Word
    detail: Annotated[str, Meta(max_length=DETAIL_CHARACTERS_MAX)]


class RefusedError(Exception):
    """The handshake ends here; ``ours`` tells who refused."""

    def __init__(self, refusal: Refusal, ours: bool) -> None:
        """Say why.

        Args:
            refusal: the reason.
            ours: True if it is this side that refuses.
        """
        super().__init__(refusal.detail)
        self.refusal = refusal
        self.ours = ours


class Terms(NamedTuple):
    """What this node says of itself, and demands of others, as things stand now."""

    me: Identity
    cluster_name: str
    cluster_uuid: str
    secret: bytes | None
    build: Build = BUILD
    feature_level: int = 0


class Step(Enum):
    """What a handshake waits for next."""

    HELLO = "the other's Hello"
    PROOF = "the other's Proof"
    DONE = "nothing"


class Handshake:
    """One side of one handshake.

    Invariants: steps are taken in the order of `Step`; ``other`` is known from PROOF
    on, and is authentic once DONE if there is a secret.
    """

    def __init__(self, terms: Terms, target: NodeId | None, nonce: bytes) -> None:
        """Prepare one side.

        Args:
            terms: what holds when it begins.
            target: whom this side dials; None on the side that was dialled.
            nonce: `NONCE_BYTES` fresh random bytes.
        """
        self._terms = terms
        self._target = target
        self.step = Step.HELLO
        self.other: Hello | None = None
        me = terms.me
        self._mine = Hello(
            build=terms.build,
            feature_level=terms.feature_level,
            cluster_name=terms.cluster_name,
            cluster_uuid=terms.cluster_uuid,
            node_id=me.node_id,
            boot_epoch=me.boot_epoch,
            name=me.name,
            target=target or "",
            secured=terms.secret is not None,
            nonce=nonce,
        )
        self._transcript = b""

    def hello(self) -> bytes:
        """Spell what this side says first."""
        return spell(self._mine)

    def receive_hello(self, data: bytes) -> Hello:
        """Take the other's Hello.

        Args:
            data: as it came.

        Raises:
            ProtocolError: it is none.
            RefusedError: the two do not belong together, or so the other side says.
        """
        assert self.step is Step.HELLO
        other = read(data, Hello | Refusal)  # type: ignore[arg-type]
        if isinstance(other, Refusal):
            raise RefusedError(other, ours=False)
        problem = self._objection(other)
        if problem is not None:
            raise RefusedError(problem, ours=True)
        mine = self.hello()
        self._transcript = mine + data if self._target else data + mine
        self.other = other
        self.step = Step.PROOF
        return other

    def proof(self) -> bytes:
        """Spell what this side says second."""
        assert self.step is not Step.HELLO
        return spell(Proof(self._mac(self._role(True))))

    def receive_proof(self, data: bytes) -> None:
        """Take the other's Proof.

        Args:
            data: as it came.

        Raises:
            ProtocolError: it is none.
            RefusedError: it proves nothing, or the other side refuses.
        """
        assert self.step is Step.PROOF
        other = read(data, Proof | Refusal)  # type: ignore[arg-type]
        if isinstance(other, Refusal):
            raise RefusedError(other, ours=False)
        if not hmac.compare_digest(other.mac, self._mac(self._role(False))):
            raise RefusedError(
                Refusal("secret", "the cluster secrets differ"), ours=True
            )
        self.step = Step.DONE

    def seal(self, mine: bool) -> Seal | None:
        """Make the seal for what follows one side's Proof; None without a secret.

        Args:
            mine: True for what this side sends, False for what it receives.
        """
        if self._terms.secret is None:
            return None
        key = derive(self._terms.secret, self._transcript, self._role(mine))
        return Sealed(key)

    def _role(self, mine: bool) -> str:
        """Name this side, or the other."""
        return "dialler" if bool(self._target) is mine else "acceptor"

    def _mac(self, role: str) -> bytes:
        """Compute what one side has to show."""
        if self._terms.secret is None:
            return b""
        return prove(self._terms.secret, self._transcript, role)

    def _objection(self, other: Hello) -> Refusal | None:
        """Say why the two do not belong together, None if they may."""
        terms, mine = self._terms, self._mine
        if why := mismatch(terms.build, other.build):
            return Refusal("build", f"{other.name!r} can't be a peer: {why}")
        if other.cluster_name != terms.cluster_name:
            return _foreign("named", other.cluster_name, terms.cluster_name)
        both_known = other.cluster_uuid and terms.cluster_uuid
        if both_known and other.cluster_uuid != terms.cluster_uuid:
            return _foreign("of uuid", other.cluster_uuid, terms.cluster_uuid)
        if why := gap(other.build, terms.feature_level):
            return Refusal("build", f"{other.name!r} can't be a peer: {why}")
        if other.secured is not mine.secured:
            has = "has" if other.secured else "has not"
            return Refusal("secret", f"{other.name!r} {has} a cluster secret")
        return self._mistake(other)

    def _mistake(self, other: Hello) -> Refusal | None:
        """Say why this is not the node that was meant, None if it is."""
        me = self._mine.node_id
        if other.node_id == me:
            return Refusal("self", f"{other.name!r} has the node id of this node")
        dialled, reached = other.target, me
        if self._target is not None:
            dialled, reached = self._target, other.node_id
        if dialled != reached:
            return Refusal("target", f"dialled node {dialled}, reached {reached}")
        return None


def _foreign(how: str, theirs: str, ours: str) -> Refusal:
    """Say that two clusters met, and which."""
    detail = f"it is in a cluster {how} {theirs!r}, this node in one {how} {ours!r}"
    return Refusal("cluster", detail[:DETAIL_CHARACTERS_MAX])
