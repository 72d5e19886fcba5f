"""The map is the view that the primary's machine was tried with, and so is its fake."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.replication.desk import DictMap
from torua.core.ids import ShardId
from torua.core.records import Answered, Effect, KvDelete, KvPut, Record
from torua.core.replication.tip import View
from torua.storage.map import Map

KEYS = (b"", b"a", b"a\0", b"\xff", "ä/b".encode())

keys = st.sampled_from(KEYS)
puts = st.builds(
    KvPut,
    keys,
    st.binary(max_size=9),
    st.sampled_from(["t", ""]),
    st.none() | st.integers(0, 9),
)
effects = st.lists(
    st.one_of(puts, st.builds(KvDelete, keys)), max_size=4, unique_by=lambda e: e.key
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(effects, st.booleans(), st.booleans()), min_size=1, max_size=8)
)
def test_the_map_and_its_fake_answer_alike(
    changes: list[tuple[list[Effect], bool, bool]],
) -> None:
    """Whatever was applied to both, written or staged."""
    with TemporaryDirectory() as place:
        real, fake = Map.open(Path(place) / "map.db"), DictMap()
        for seq, (each, answers, staged) in enumerate(changes, 1):
            answered = Answered(f"i{seq}", b"f", b"%d" % seq) if answers else None
            record = Record(ShardId(0), seq, 1, seq, tuple(each), answered)
            (real.stage if staged else real.apply)([record])
            fake.apply(record)
            assert answers_of(real) == answers_of(fake)
        real.close()


def answers_of(view: View) -> list[object]:
    """Ask a view everything that the primary may ask."""
    return [
        [view.version(key) for key in KEYS],
        [view.get(key) for key in KEYS],
        [view.head(key) for key in KEYS],
        [view.answered(f"i{number}") for number in range(9)],
        [list(view.due(now_ns, limit)) for now_ns in (0, 5, 9) for limit in (1, 9)],
    ]
