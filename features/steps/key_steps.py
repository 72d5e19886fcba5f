"""Steps: keys and values through any node."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

from behave import then, when
from cluster import eventually, key_path
from keys import check_all

KEY_BYTES_MAX = 1024


def turns(cluster, number):
    """Return the node whose turn it is."""
    nodes = cluster.running()
    return nodes[number % len(nodes)]


@when("{count:d} keys are put, through the nodes in turn")
def put_many(context, count):
    """Put them, and remember the shard that each answer names."""
    context.shard_of = {}
    for number in range(count):
        key = f"user/{hashlib.sha256(str(number).encode()).hexdigest()[:12]}"
        answer = turns(context.cluster, number).ask("PUT", key_path(key), key.encode())
        assert answer.status == 204, (answer.status, answer.data)
        context.cluster.written[key] = key.encode()
        context.shard_of[key] = int(answer.headers["Torua-Shard"])


@then("every shard holds some of them")
def all_shards_used(context):
    """Compare with the shards that there are; none has less than half its share."""
    shards = [each["shard"] for each in context.cluster.any().json("/shards")]
    counts = [list(context.shard_of.values()).count(shard) for shard in shards]
    print(f"keys by shard: {counts}")
    assert min(counts) > len(context.shard_of) / len(shards) / 2, counts


@then("each key is on the same shard whichever node is asked")
def same_shard(context):
    """Ask all nodes for every tenth key."""
    for key in list(context.shard_of)[::10]:
        for node in context.cluster.running():
            answer = node.ask("HEAD", key_path(key))
            assert int(answer.headers["Torua-Shard"]) == context.shard_of[key], key


@then("listing them gives all, in byte order")
def listing(context):
    """Follow the pages to the end."""
    node, found, after = context.cluster.any(), [], None
    while True:
        fields = {"limit": "100"} | ({"after": after} if after is not None else {})
        answer = node._pool.request("GET", "/kv", fields=fields, retries=False)
        page = answer.json()
        found += [item["key"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    expected = sorted(context.cluster.written, key=str.encode)
    assert found == expected, (len(found), len(expected))


@when("a key of each of these kinds is put through one node")
def put_odd_keys(context):
    """The row of control characters is written with escapes."""
    for number, row in enumerate(context.table):
        key = row["key"]
        if row["kind"] == "control characters":
            key = key.replace("\\t", "\t").replace("\\n", "\n").replace("\\0", "\0")
        context.cluster.put(
            key, f"{row['kind']}".encode(), turns(context.cluster, number)
        )


@when("the longest key of {size:d} bytes is put")
def put_longest(context, size):
    """It is one of two-byte characters."""
    context.cluster.put("ø" * (size // 2), b"long")


@then("a key of {size:d} bytes is refused as malformed")
def too_long(context, size):
    """Expect a problem document."""
    answer = context.cluster.any().ask("PUT", key_path("x" * size), b"")
    assert answer.status == 400, (answer.status, answer.data)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


@when("values of these sizes are put, and got through another node")
def put_sizes(context):
    """Put each through one node, get it through the next."""
    for number, row in enumerate(context.table):
        size = int(row["size"])
        key, value = f"size-{size}", hashlib.shake_128(str(size).encode()).digest(size)
        context.cluster.put(key, value, turns(context.cluster, number))
        answer = turns(context.cluster, number + 1).ask("GET", key_path(key))
        assert (answer.status, answer.data) == (200, value), (size, answer.status)


@then("a value of {size:d} bytes is refused as too large")
def too_large(context, size):
    """Expect a problem document."""
    answer = context.cluster.any().ask("PUT", "/kv/huge", bytes(size))
    assert answer.status == 413, (answer.status, answer.data)
    assert answer.headers["Content-Type"] == "application/problem+json"


@when("{clients:d} clients put and get {count:d} keys each, at the same time")
def many_clients(context, clients, count):
    """Each has a connection to one of the nodes; errors are gathered."""
    cluster = context.cluster

    def client(number):
        node, errors = turns(cluster, number), []
        for turn in range(count):
            key, value = f"client-{number}/{turn}", f"{number}.{turn}".encode() * 20
            put = node.ask("PUT", key_path(key), value)
            got = node.ask("GET", key_path(key))
            if (put.status, got.status, got.data) == (204, 200, value):
                cluster.written[key] = value
            else:
                errors.append((node.name, key, put.status, got.status))
        return errors

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(client, range(clients)))
    passed = time.monotonic() - began
    context.errors = [error for errors in results for error in errors]
    print(f"{2 * clients * count / passed:.0f} requests/s")


@then("none of them sees an error")
def no_errors(context):
    """Show the first few if there are any."""
    assert not context.errors, (len(context.errors), context.errors[:5])


@when("a key is put only if it does not exist, twice")
def create_twice(context):
    """Through two nodes."""
    nodes = [turns(context.cluster, number) for number in (0, 1)]
    context.answers = [
        node.ask("PUT", "/kv/cas", b"new", If_None_Match="*") for node in nodes
    ]
    context.cluster.written["cas"] = b"new"


@when("it is changed at its version, and then at the old version again")
def change_twice(context):
    """Through two nodes, with the same ETag."""
    etag = context.answers[0].headers["ETag"]
    nodes = [turns(context.cluster, number) for number in (2, 0)]
    context.answers = [
        node.ask("PUT", "/kv/cas", b"changed", If_Match=etag) for node in nodes
    ]
    context.cluster.written["cas"] = b"changed"


@then("the first is done and the second refused")
def one_of_two(context):
    """The second gets 412."""
    assert [answer.status for answer in context.answers] == [204, 412]


@when("a key is put that shall live {seconds:d} second")
def put_with_ttl(context, seconds):
    """Through one node."""
    answer = context.cluster.any().ask("PUT", f"/kv/brief?ttl={seconds}", b"x")
    assert answer.status == 204, (answer.status, answer.data)


@then("it is there, and gone within {seconds:d} seconds")
def gone(context, seconds):
    """Ask all nodes."""
    nodes = context.cluster.running()
    assert nodes[-1].ask("GET", "/kv/brief").status == 200
    eventually(
        lambda: all(node.ask("GET", "/kv/brief").status == 404 for node in nodes),
        seconds,
        "the key is gone on all nodes",
    )
    check_all(context.cluster)


@when("a put is sent twice with the same idempotency key")
def put_twice(context):
    """Through two nodes."""
    nodes = [turns(context.cluster, number) for number in (0, 1)]
    context.answers = [
        node.ask("PUT", "/kv/once", b"value", Idempotency_Key="k-1") for node in nodes
    ]


@then("both answers tell the same version")
def same_version(context):
    """Compare status and ETag."""
    told = {(answer.status, answer.headers["ETag"]) for answer in context.answers}
    assert len(told) == 1, told
    assert context.answers[0].status == 204


@then("another value under that idempotency key is refused")
def other_value(context):
    """Expect 422."""
    node = turns(context.cluster, 2)
    answer = node.ask("PUT", "/kv/once", b"other", Idempotency_Key="k-1")
    assert answer.status == 422, (answer.status, answer.data)
