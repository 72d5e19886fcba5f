"""Side by side with etcd: three nodes each, on this machine, in turns.

Both are asked by HTTP, etcd by its JSON gateway, the same keys and values by the same
client over as many connections: wrk where it is installed, else our own generator.
etcd has one leader for all keys; so has Torua with one shard, which is what compares,
and with four shards, as is the default, leads are spread over the nodes.
"""

import base64
import json
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit
from urllib.request import urlopen

from rig import (
    CONNECTIONS,
    Cluster,
    Effort,
    cluster_of,
    endpoints,
    eventually,
    fill,
    note,
    table,
)

from torua.cli import loader
from torua.cli.load import Plan, Request, key_name, requests_of, spelled, value_of

NODES = 3
KEYS = 2000
PLANS = {name: Plan(name, keys=KEYS) for name in ("put", "get")}

OURS = {"one shard": 1, "four shards": 4}
THEIRS = "etcd"

SHORTER = 3
"""A machine's speed changes within seconds: so many times more rounds, each shorter."""

ROUND_S = 2.0

Pool = Sequence[Request]
Urls = tuple[str, ...]
Side = tuple[Urls, dict[str, Pool]]
"""Where the nodes are, and what they are asked, by the name of a plan."""


def side_by_side(effort: Effort) -> str:
    """Measure puts and gets of all, in turns; of Torua alone where there is no etcd."""
    with ExitStack() as running:
        sides: dict[str, Side] = {}
        for name, shards in OURS.items():
            cluster = cluster_of(NODES, NODES, "--shards", str(shards))
            sides[name] = _filled(running.enter_context(cluster))
        if shutil.which("etcd") is not None:
            urls = running.enter_context(etcd())
            sides[THEIRS] = (urls, {name: etcd_pool(name) for name in PLANS})
            once = loader.Drive(urls, connections=8, operations=KEYS)
            loader.run(etcd_pool("put"), once)
        return _compared(sides, effort)


def _filled(cluster: Cluster) -> Side:
    """Fill a cluster of ours, and tell how to ask it."""
    fill(cluster, PLANS["get"])
    return endpoints(cluster), {n: requests_of(p) for n, p in PLANS.items()}


def _compared(sides: dict[str, Side], effort: Effort) -> str:
    """Measure all sides in turns, and spell what that gave."""
    found: dict[tuple[str, str], list[float]] = {}
    drive = with_wrk if shutil.which("wrk") else with_ours
    rounds = range(SHORTER * effort.rounds)
    for workload, turn, name in product(PLANS, rounds, sides):
        note(f"etcd: {name}, {workload}, round {turn + 1}")
        urls, pools = sides[name]
        per_s = drive(urls, pools[workload], ROUND_S)
        found.setdefault((workload, name), []).append(per_s)
    return f"{_introduction(drive)}\n\n{_table(found)}"


def _introduction(drive: Callable[[Urls, Pool, float], float]) -> str:
    """Say how it was measured, and what was left out."""
    client = "wrk" if drive is with_wrk else "our own generator (wrk is not installed)"
    said = (
        f"{NODES} nodes each, {NODES} copies, {CONNECTIONS} connections spread over the"
        f" nodes, values of 100 bytes, {client}; rounds in turns, and their median."
    )
    if shutil.which("etcd") is None:
        said += " **etcd is not installed here: Torua alone was measured.**"
    return said


def _table(found: dict[tuple[str, str], list[float]]) -> str:
    """Spell the rounds of each side, and how they compare."""
    rows = []
    for workload, name in product(PLANS, OURS):
        ours, theirs = found[workload, name], found.get((workload, THEIRS))
        rows.append(
            (
                f"{workload}, {name}",
                f"{median(ours):,.0f}",
                f"{median(theirs):,.0f}" if theirs else "-",
                f"{median(ours) / median(theirs):.2f}" if theirs else "-",
                ", ".join(f"{each:,.0f}" for each in ours),
                ", ".join(f"{each:,.0f}" for each in theirs or ()) or "-",
            )
        )
    heads = ("request", "Torua a second", "etcd a second", "ratio")
    return table((*heads, "rounds of Torua", "rounds of etcd"), rows)


def etcd_pool(workload: str) -> list[Request]:
    """Spell for etcd's gateway what a plan asks of Torua."""
    plan = PLANS[workload]
    value = base64.b64encode(value_of(plan)).decode()
    made = []
    for number in range(KEYS):
        key = base64.b64encode(key_name(number).encode()).decode()
        body = {"key": key} if workload == "get" else {"key": key, "value": value}
        target = "/v3/kv/range" if workload == "get" else "/v3/kv/put"
        data = json.dumps(body).encode()
        made.append(
            Request(workload, spelled("POST", target, data, "application/json"))
        )
    return made


@contextmanager
def etcd() -> Iterator[Urls]:
    """Run a cluster of etcd on loopback; yield where its clients go."""
    root = Path(tempfile.mkdtemp(prefix="torua-etcd-"))
    clients, peers = (_addresses(NODES) for _ in range(2))
    running = []
    try:
        for number in range(NODES):
            command = etcd_command(root, number, clients, peers)
            with (root / f"{number}.log").open("wb") as log:
                # The words are our own.
                started = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
                running.append(started)
        for url in clients:
            eventually(lambda url=url: _healthy(url), 30, f"{url} is healthy")
        yield clients
    finally:
        for process in running:
            process.kill()
            process.wait(15)
        shutil.rmtree(root, ignore_errors=True)


def etcd_command(root: Path, number: int, clients: Urls, peers: Urls) -> list[str]:
    """Spell the command line of one etcd.

    Args:
        root: where all keep their data.
        number: which, from 0.
        clients: where clients go, all nodes.
        peers: where the others go.
    """
    cluster = ",".join(f"e{place}={url}" for place, url in enumerate(peers))
    return [
        *("etcd", "--name", f"e{number}", "--data-dir", str(root / str(number))),
        *("--listen-client-urls", clients[number]),
        *("--advertise-client-urls", clients[number]),
        *("--listen-peer-urls", peers[number]),
        *("--initial-advertise-peer-urls", peers[number]),
        *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
        *("--log-level", "error"),
    ]


def _addresses(count: int) -> Urls:
    """Choose free ports, all held until all are chosen."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    urls = tuple(f"http://127.0.0.1:{each.getsockname()[1]}" for each in held)
    for each in held:
        each.close()
    return urls


def _healthy(url: str) -> bool:
    """Ask an etcd whether it serves."""
    with suppress(OSError), urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310
        return json.load(answer).get("health") == "true"
    return False


def with_ours(urls: Urls, pool: Pool, seconds: float) -> float:
    """Load with our own generator; return answers a second.

    Args:
        urls: of the nodes.
        pool: what to send.
        seconds: how long.
    """
    drive = loader.Drive(urls, connections=CONNECTIONS, seconds=seconds)
    tally = loader.run(pool, drive)
    assert not tally.errors, dict(tally.errors)
    return tally.operations / tally.seconds


def with_wrk(urls: Urls, pool: Pool, seconds: float) -> float:
    """Load with wrk, a thread a node; return answers a second.

    Args:
        urls: of the nodes.
        pool: what to send.
        seconds: how long.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua(urls, pool))
        script.flush()
        command = ["wrk", "-t", str(len(urls)), "-c", str(CONNECTIONS)]
        command += ["-d", f"{seconds:.0f}s", "-s", script.name, urls[0]]
        done = subprocess.run(  # noqa: S603 - the words are our own
            command, capture_output=True, text=True, check=True
        )
    return per_second(done.stdout)


def per_second(told: str) -> float:
    """Read the rate out of what wrk printed; AssertionError where requests failed."""
    assert "Non-2xx" not in told, told
    assert "Socket errors" not in told, told
    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", told, re.MULTILINE)
    assert rate is not None, told
    return float(rate[1])


def lua(urls: Urls, pool: Pool) -> str:
    """Write the script by which wrk sends what our generator would.

    Args:
        urls: of the nodes, one for each of wrk's threads.
        pool: what to send, over and over.
    """
    places = [urlsplit(url) for url in urls]
    nodes = ", ".join(f'{{"{each.hostname}", "{each.port}"}}' for each in places)
    requests = ",\n".join(f'"{_quoted(each.wire)}"' for each in pool)
    return f"""local nodes = {{{nodes}}}
local pool = {{
{requests}
}}
local threads = 0

function setup(thread)
  threads = threads + 1
  local node = nodes[(threads - 1) % #nodes + 1]
  thread.addr = wrk.lookup(node[1], node[2])[1]
  thread:set("turn", threads * math.floor(#pool / #nodes))
end

function request()
  turn = turn % #pool + 1
  return pool[turn]
end
"""


def _quoted(data: bytes) -> str:
    """Spell bytes as they stand between quotes in Lua."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03d}"
        for byte in data
    )
