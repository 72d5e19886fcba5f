"""What a shared secret makes of a connection: proofs of knowing it, and sealed frames.

From the secret and the transcript of a handshake (both greetings, each with a fresh
nonce) come, by HKDF-SHA256, one key for proofs and one for the frames of each
direction.  Frames are sealed with AES-256-GCM under a nonce that counts them: none can
be read, changed, injected, replayed, reordered or left out without the next one failing
to open.  The keys depend on nothing but the secret and what was sent, so that who
learns the secret later can read what was recorded: there is no forward secrecy.
"""

import hashlib
import hmac
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from torua.errors import ProtocolError

_TAG_BYTES = 16


class Sealed:
    """The seal against everybody who does not know the key.

    Invariants: no nonce is used twice, for it counts the frames of one direction under
    a key that no other connection or direction has.
    """

    overhead = _TAG_BYTES

    def __init__(self, key: bytes) -> None:
        """Begin one direction with its own key of 32 bytes."""
        self._cipher = AESGCM(key)
        self._count = 0

    def close(self, header: bytes, payload: bytes) -> Iterable[bytes]:
        """Encrypt the payload, bound to its header.

        Args:
            header: as `Seal` says.
            payload: as `Seal` says.
        """
        return (self._cipher.encrypt(self._nonce(), payload, header),)

    def open(self, header: bytes, sealed: bytes) -> bytes:
        """Decrypt the payload, if it was sealed with this header.

        Args:
            header: as `Seal` says.
            sealed: as `Seal` says.
        """
        try:
            return self._cipher.decrypt(self._nonce(), sealed, header)
        except InvalidTag:
            raise ProtocolError("a frame's seal is broken") from None

    def _nonce(self) -> bytes:
        """Count a frame."""
        self._count += 1
        return self._count.to_bytes(12, "big")


def derive(secret: bytes, transcript: bytes, purpose: str) -> bytes:
    """Make the key of 32 bytes that this secret gives for one purpose.

    Args:
        secret: what the nodes of the cluster share.
        transcript: all that was said in the handshake so far.
        purpose: distinguishes keys of one handshake.
    """
    salt = hashlib.sha256(transcript).digest()
    info = b"torua peers 1 " + purpose.encode()
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def prove(secret: bytes, transcript: bytes, role: str) -> bytes:
    """Show that one knows the secret, without showing the secret.

    Args:
        secret: what the nodes of the cluster share.
        transcript: both greetings, as they were sent.
        role: which side proves; the other's proof does not serve as one's own.
    """
    key = derive(secret, transcript, "proof")
    return hmac.digest(key, role.encode(), "sha256")
