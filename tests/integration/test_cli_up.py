"""``torua up`` with real processes: small programs stand in for the daemons."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from torua.cli import cluster_file, ports, up
from torua.cli.failures import Failure
from torua.cli.log_tail import LogTail
from torua.cli.main import main
from torua.cli.supervisor import NodePlan, Supervisor, node_command

pytestmark = pytest.mark.integration

DAEMON = """
import http.server, sys
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status": "green"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
"""
DEADLINE_S = 20.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def supervisor(root: Path, program: str = DAEMON, **options: bool) -> Supervisor:
    """Prepare to run one stand-in.

    Args:
        root: of the local cluster.
        program: what it runs; its port is its first argument.
        options: of the supervisor.
    """
    http = f"127.0.0.1:{free_port()}"
    command = (sys.executable, "-c", program, http.rpartition(":")[2])
    plan = NodePlan("node-1", http, "127.0.0.1:1", root / "node-1", command)
    restart = options.get("restart", True)
    return Supervisor([plan], root, restart=restart, ready_timeout_s=DEADLINE_S)


def pid_in(root: Path) -> int | None:
    """Return the process id of the node that the cluster file tells."""
    content = cluster_file.read(root)
    return content.nodes[0].pid if content else None


def later(action: Callable[[], None]) -> threading.Thread:
    """Do something beside the main thread, which the supervisor needs for signals."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def interrupt() -> None:
    """Send this process what Ctrl-C sends."""
    os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_stops_all_of_it(tmp_path: Path) -> None:
    """The daemon is gone, the file says so, and the old handlers are back."""
    before = signal.getsignal(signal.SIGINT)
    pids: list[int | None] = []

    def ready(seconds: float) -> None:
        """Note the process, and end it all."""
        pids.append(pid_in(tmp_path))
        interrupt()

    supervisor(tmp_path).run(ready)
    assert pids[0] is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert pid_in(tmp_path) is None
    assert signal.getsignal(signal.SIGINT) is before
    assert "serving" in (tmp_path / "node-1" / "output.log").read_text()


def test_a_killed_daemon_comes_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its end is told with its last lines, and the file tells its new process."""
    seen: list[int | None] = []

    def kill_and_watch() -> None:
        """Kill the daemon, wait for another, end it all."""
        seen.append(pid_in(tmp_path))
        os.kill(seen[0] or 0, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        while pid_in(tmp_path) in {None, seen[0]} and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        seen.append(pid_in(tmp_path))
        interrupt()

    threads: list[threading.Thread] = []
    supervisor(tmp_path).run(lambda _: threads.append(later(kill_and_watch)))
    threads[0].join()
    assert seen[1] not in {None, seen[0]}
    said = capfd.readouterr()
    assert "node-1 | serving" in said.err
    assert "node-1 ended with signal SIGKILL" in said.err
    assert "started again" in said.out


def test_a_killed_daemon_stays_down_if_told_so(tmp_path: Path) -> None:
    """The file then holds no process of it, while the supervisor goes on."""
    seen: list[bool] = []

    def kill_and_watch() -> None:
        """Kill the daemon, wait until that is known, end it all."""
        os.kill(pid_in(tmp_path) or 0, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        while pid_in(tmp_path) is not None and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        content = cluster_file.read(tmp_path)
        seen.append(content is not None and content.pid == os.getpid())
        interrupt()

    threads: list[threading.Thread] = []
    under = supervisor(tmp_path, restart=False)
    under.run(lambda _: threads.append(later(kill_and_watch)))
    threads[0].join()
    assert seen == [True]


def test_a_daemon_that_cannot_start_ends_it_all(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is not tried again: its last lines say why, those of this start only."""
    log = tmp_path / "node-1" / "output.log"
    log.parent.mkdir()
    log.write_text("long ago\n")
    program = "print('hot'); import sys; sys.exit('the disk is on fire')"
    with pytest.raises(Failure, match="node-1 ended with exit status 1"):
        supervisor(tmp_path, program).run(lambda _: None)
    said = capfd.readouterr().err
    assert "node-1 | the disk is on fire" in said
    assert cluster_file.read(tmp_path) is None
    assert "long ago" not in said


def test_the_one_line_of_a_daemon_is_passed_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who gave a wrong option reads about it, and about nothing else."""
    program = "import sys; sys.exit('no such option')"
    with pytest.raises(Failure, match=r"^node-1 did not start: no such option$"):
        supervisor(tmp_path, program).run(lambda _: None)
    assert capfd.readouterr().err == ""


def test_daemons_that_lost_their_supervisor_are_named(tmp_path: Path) -> None:
    """They hold the data; another process with that id is not taken for one."""
    words = ["-c", "input()", "torua-node", "--name", "node-1"]
    command = [sys.executable, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603
        nodes = tuple(
            cluster_file.LocalNode(name, "a:1", "a:2", process.pid, "d", "l")
            for name in ("node-1", "node-2")
        )
        cluster_file.write(tmp_path, cluster_file.ClusterFile((), nodes, None))
        result = CliRunner().invoke(main, ["up", "--data-dir", str(tmp_path)])
        process.kill()
    assert result.exit_code == 5
    assert result.stderr.endswith(f"kill {process.pid}\n")


def test_a_second_up_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """One line, and nothing is touched."""
    with up._locked(tmp_path):
        result = CliRunner().invoke(main, ["up", "--data-dir", str(tmp_path)])
    assert result.exit_code == 5
    assert "already" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "cluster.json").exists()


def chosen_ports(wanted: Sequence[tuple[int, int] | None]) -> list[tuple[int, int]]:
    """Choose ports, and let them go again."""
    with ExitStack() as claims:
        return ports.choose(wanted, claims)


def test_two_that_choose_at_the_same_time_choose_different_ports() -> None:
    """Before any node listens; and they can be chosen again afterwards."""
    with ExitStack() as one, ExitStack() as other:
        first = ports.choose([None, None], one)
        assert not set(first) & set(ports.choose([None, None], other))
    assert chosen_ports(first) == first


def test_ports_that_are_taken_are_avoided() -> None:
    """A cluster port is taken if either of its two kinds is."""
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        chosen = chosen_ports([(port - 1, port), None])
    used = [each for pair in chosen for each in pair]
    assert port not in used
    assert len(set(used)) == 4


def test_ports_of_before_are_kept() -> None:
    """A new node does not take what an old one had."""
    before = (free_port(), free_port())
    first = chosen_ports([None, None])[0]
    assert chosen_ports([None, before])[1] == before
    assert chosen_ports([None, first])[1] == first


def test_each_node_is_told_of_the_others(tmp_path: Path) -> None:
    """All expect all, and join by the addresses of the others."""
    with ExitStack() as claims:
        plans = up.plan(3, tmp_path, (), ["--shards", "8"], claims)
        single = up.plan(1, tmp_path, (), [], claims)[0]
    for each in plans:
        options = dict(zip(each.command[5::2], each.command[6::2], strict=True))
        others = {other.cluster for other in plans} - {each.cluster}
        assert set(options["--join"].split(",")) == others
        assert options["--bootstrap-expect"] == "3"
        assert options["--shards"] == "8"
    assert "--join" not in single.command
    assert single.command[:5] == node_command(())


def test_fewer_nodes_than_before_are_refused(tmp_path: Path) -> None:
    """The others' keys would be missing."""
    nodes = tuple(
        cluster_file.LocalNode(f"node-{n}", "a:1", "a:2", None, "d", "l")
        for n in (1, 2, 3)
    )
    cluster_file.write(tmp_path, cluster_file.ClusterFile((), nodes, None))
    words = ["up", "--nodes", "2", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_a_log_tells_its_errors_once(tmp_path: Path) -> None:
    """Only whole lines that came since the start, in text or in JSON."""
    path = tmp_path / "log"
    path.write_text("2026 [old#error] before\n")
    tail = LogTail(path)
    with path.open("a") as log:
        log.write("2026 info  fine error \n2026 error bad\n2026 [x#critical] wor")
    assert tail.troubles() == ["2026 error bad"]
    with path.open("a") as log:
        log.write('se\n{"level": "error"}\n')
    assert tail.troubles() == ["2026 [x#critical] worse", '{"level": "error"}']
    assert tail.troubles() == []
    assert tail.last_lines(1) == ['{"level": "error"}']
