"""A tiny coordinator: one shard's state, changed by compare and swap."""

import random

from msgspec.structs import replace

from tests.core.replication.station import HISTORY, SHARD, Station
from torua.core.replication.messages import (
    AskFail,
    AskInSync,
    AskTerm,
    Drained,
    Output,
)
from torua.core.state import Copy, CopyState, Primary, Shard


class Office:
    """Commits states of one shard.

    Invariants: ``shard_version`` and ``primary_term`` never fall; only copies that are
    in sync become primary (R7).
    """

    def __init__(self, dice: random.Random, stations: list[Station]) -> None:
        """Name the first station primary.

        Args:
            dice: decides.
            stations: one a copy.
        """
        self.dice = dice
        self.asked: list[Output] = []
        self.by_alloc = {each.alloc: each for each in stations}
        first = stations[0]
        self.shard = Shard(
            shard=SHARD,
            shard_version=1,
            primary_term=1,
            primary=Primary(first.alloc, first.node, first.epoch),
            in_sync=(first.alloc,),
            copies=tuple(
                Copy(each.alloc, each.node, CopyState.INIT) for each in stations
            ),
            history_uuid=HISTORY,
            rf=len(stations),
            min_copies=1 if len(stations) == 2 else 2,
        )

    def name(self, station: Station) -> None:
        """Commit a state with another primary."""
        assert station.alloc in self.shard.in_sync, "R7"
        self.change(
            primary=Primary(station.alloc, station.node, station.epoch),
            primary_term=self.shard.primary_term + 1,
        )

    def execute(self, calm: bool) -> None:
        """Execute a command that a node asked for; some come late, lost, or twice."""
        if not self.asked:
            return
        index = self.dice.randrange(len(self.asked))
        command = self.asked.pop(0 if calm else index)
        if not calm and self.dice.random() < 0.1:
            self.asked.append(command)
        self.obey(command)

    def obey(self, command: Output) -> None:
        """Execute a command, if the state is as it expects.

        Args:
            command: what was asked for.
        """
        shard = self.shard
        assert isinstance(command, AskInSync | AskFail | AskTerm | Drained)
        if (command.term, command.expect) != (shard.primary_term, shard.shard_version):
            return
        assert shard.primary is not None
        match command:
            case AskInSync():
                station = self.by_alloc[command.alloc_id]
                if station.epoch == command.boot_epoch:
                    self.change(in_sync=(*shard.in_sync, command.alloc_id))
            case AskFail() if command.alloc_id != shard.primary.alloc_id:
                rest = tuple(e for e in shard.in_sync if e != command.alloc_id)
                self.change(in_sync=rest)
            case AskTerm():
                self.name(self.by_alloc[command.alloc_id])
            case Drained() if command.target in shard.in_sync:
                self.name(self.by_alloc[command.target])

    def change(self, **changes: object) -> None:
        """Commit another state."""
        version = self.shard.shard_version + 1
        self.shard = replace(self.shard, shard_version=version, **changes)
