"""A client that does not take its answers is read no further.

Twisted stops reading while answers wait, but goes on with what it has read: requests
that came together are all served, and while one is worked on any number may come behind
it.  So a client that reads nothing could have a node hold thousands of answers.
"""

from typing import Any

from twisted.web.http import HTTPChannel


class PatientChannel(HTTPChannel):
    """One connection, of which no request is begun while the last answer waits.

    Invariants: while the transport has enough to write, nothing is read or parsed.
    """

    transport: Any

    def pauseProducing(self) -> None:
        """Begin nothing more: the transport has enough to write."""
        super().pauseProducing()
        self.paused = True
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on with what came, then with what comes."""
        self.paused = False
        super().resumeProducing()
        if self._handlingRequest and not (self.paused or self._is_ahead()):
            self._networkProducer.resumeProducing()
        if self._buffer and not self.paused:
            self.dataReceived(b"")

    def _is_ahead(self) -> bool:
        """Tell whether enough came behind the request that is worked on."""
        waiting: int = sum(map(len, self._dataBuffer))
        return waiting > self._optimisticEagerReadSize
