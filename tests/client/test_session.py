"""Sessions: what was seen is remembered, passed on, and never forgotten quietly."""

import random
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.fakes import FakeNode, Says, problem, told
from torua.client import Client, Get
from torua.client.session import Session
from torua.core.ids import ShardId
from torua.core.reading import Position, Token, read_tokens, spell_tokens

pytestmark = pytest.mark.integration


def token(shard: int, seq: int, history: str = "h") -> str:
    """Spell one token.

    Args:
        shard: whose.
        seq: what was seen of it.
        history: of which.
    """
    return spell_tokens([Token(ShardId(shard), Position(history, seq))])


def consistency(node: FakeNode) -> list[str] | None:
    """Return how fresh the last read was to be."""
    return parse_qs(urlsplit(node.heard[-1].path).query).get("consistency")


def test_what_was_written_and_read_is_asked_for(node: FakeNode) -> None:
    """The newest place of each shard, of puts, reads and bulk requests alike."""
    written = Says(204, headers={"ETag": '"1"', "Torua-Token": token(1, 5)})
    read = Says(200, b"", {"ETag": '"1"', "Torua-Token": token(2, 7)})
    late = problem(404, "not-found")
    late = Says(404, late.body, {"Torua-Token": token(1, 4)})
    node.script.extend([written, read, late, late])
    client = Client(node.url, session=True)
    client.kv.put("k", b"")
    assert consistency(node) is None
    for _ in range(3):
        client.kv.get("k")
    assert consistency(node) == ["session"]
    sent = [each.headers.get("torua-token", "") for each in node.heard[1:]]
    assert sent[0] == token(1, 5)
    both = set(read_tokens(f"{token(1, 5)},{token(2, 7)}"))
    assert [set(read_tokens(each)) for each in sent[1:]] == [both, both]
    assert set(read_tokens(client.token)) == both


def test_a_session_can_be_handed_on(node: FakeNode) -> None:
    """To another client, which then asks for the same."""
    node.usual = problem(404, "not-found")
    client = Client(node.url, session=True)
    client.saw(f"{token(1, 5)},{token(3, 1)}")
    client.kv.get("k")
    assert set(node.heard[0].headers["torua-token"].split(",")) == {
        token(1, 5),
        token(3, 1),
    }


def test_a_read_may_ask_for_something_else(node: FakeNode) -> None:
    """Then no token goes with it; without a session none does at all."""
    node.usual = told({"items": [], "next": None}, Torua_Token=token(1, 1))
    client, plain = Client(node.url, session=True), Client(node.url)
    client.kv.page(consistency="linearizable")
    client.kv.page(consistency="any")
    plain.kv.page()
    plain.kv.page()
    assert all("torua-token" not in each.headers for each in node.heard)
    plain.kv.page(consistency="session")
    assert node.heard[-1].headers["torua-token"] == token(1, 1)


@pytest.mark.parametrize(
    "seen", [",".join(token(each, 1) for each in range(64)), "!", "bm9wZQ"]
)
def test_what_cannot_be_passed_on_makes_reads_linearizable(
    node: FakeNode, seen: str
) -> None:
    """Shards over the limit, tokens of another kind: nothing that was seen is lost."""
    node.usual = problem(404, "not-found")
    client = Client(node.url, session=True)
    client.saw(seen)
    client.saw(token(99, 1))
    client.kv.get("k")
    assert consistency(node) == ["linearizable"]


seqs = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=40
)


@given(seen=seqs)
def test_a_session_never_goes_back(seen: list[tuple[int, int]]) -> None:
    """In whatever order answers come."""
    session = Session("session")
    for shard, seq in seen:
        session.saw(token(shard, seq))
    newest = {shard: max(q for s, q in seen if s == shard) for shard, _ in seen}
    assert {
        each.shard: each.position.seq for each in read_tokens(session.token)
    } == newest


def test_another_history_takes_the_place_of_the_former() -> None:
    """After a shard was forced to go on without all of its log."""
    session = Session("session")
    session.saw(token(1, 90, "old"))
    session.saw(token(1, 2, "new"))
    assert session.token == token(1, 2, "new")


def test_threads_share_a_session() -> None:
    """No token is lost between them."""
    session = Session("session")
    all_seen = [(shard, seq) for shard in range(8) for seq in range(100)]
    random.Random(1).shuffle(all_seen)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: session.saw(token(*each)), all_seen))
    seen = {each.position.seq for each in read_tokens(session.token)}
    assert (len(read_tokens(session.token)), seen) == (8, {99})


def test_bulk_requests_bring_tokens_of_several_shards(node: FakeNode) -> None:
    """With commas between them."""
    both = f"{token(1, 5)},{token(2, 6)}"
    body = b"\xa2ferrors\x00gresults\x81\xa1fstatus\x19\x01\x94"
    node.usual = Says(200, body, {"Torua-Token": both})
    client = Client(node.url)
    client.kv.bulk([Get("k")])
    assert set(client.token.split(",")) == set(both.split(","))
