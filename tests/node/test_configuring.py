"""Tests for `torua.node.live` and `torua.node.configuring`."""

from collections.abc import Coroutine
from itertools import count
from typing import Any

from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, States, Wire, state_of
from torua.core.allocation import Command, Configure, execute
from torua.core.configuration import CHANGES_KEPT, Configuration
from torua.core.ids import NodeId
from torua.core.kv import Call, Condition
from torua.core.resilience.policies import Policies
from torua.core.state import ClusterState
from torua.core.views import ConfigView
from torua.errors import (
    InvalidError,
    OutcomeUnknownError,
    PreconditionError,
    UnavailableError,
)
from torua.node.configuring import ASK_TIMEOUT_S, Configurator
from torua.node.live import LiveConfiguration

CALL = Call("r1", 5.0)
REBUILD = "allocation.rebuild_after_s"


class Coordinator(States):
    """Executes commands; ``others`` are nodes that apply what it commits.

    Invariants: whoever subscribed has seen ``state``.
    """

    def __init__(self, state: ClusterState) -> None:
        """Begin with a state."""
        super().__init__(state)
        self.others: list[States] = []
        self.failure: Exception | None = None
        self.before: list[Command] = []
        self.committed = 0

    async def submit(self, command: Command, timeout_s: float) -> None:
        """Execute a command, and first those that others were faster with.

        Args:
            command: what to change.
            timeout_s: ignored.
        """
        if self.failure is not None:
            raise self.failure
        after = self.state
        while self.before:
            after = execute(after, self.before.pop(0))
        self.commit(execute(after, command))

    def commit(self, state: ClusterState) -> None:
        """Have a state applied everywhere.

        Args:
            state: what is committed.
        """
        self.committed += state is not self.state
        self.apply(state)
        for each in self.others:
            each.apply(state)


def configure(version: int, **changes: Any) -> Configure:
    """Return what another operator asks for.

    Args:
        version: which he saw.
        changes: by name in the section of allocation.
    """
    named = {f"allocation.{key}": value for key, value in changes.items()}
    return Configure(f"other-{version}", version, named)


class ConfiguringTests(SynchronousTestCase):
    """Two nodes; the first is asked."""

    def setUp(self) -> None:
        """Connect them."""
        self.clock = Clock()
        state = state_of({0: ONE, 1: TWO})
        self.coordinator = Coordinator(state)
        self.other = States(state)
        self.coordinator.others.append(self.other)
        self.wire = Wire(self.clock)
        self.dead: set[NodeId] = set()
        self.ids = count(1)
        self.one = self.make(ONE, self.coordinator, Policies())
        self.two = self.make(TWO, self.other, Policies(breakers=False))

    def make(self, node: NodeId, states: Any, started: Policies) -> Configurator:
        """Make a node's.

        Args:
            node: whose.
            states: what it has applied.
            started: what it may use.
        """
        return Configurator(
            node,
            LiveConfiguration(states, self.clock, started, CollectorRegistry()),
            states,
            self.wire.end(node),
            self.clock,
            is_live=lambda each: each not in self.dead,
            fresh_id=lambda: f"change-{next(self.ids)}",
        )

    def change(
        self, changes: dict[str, object], *versions: int
    ) -> "Deferred[ConfigView]":
        """Ask the first node for a change.

        Args:
            changes: by key.
            versions: that are meant; none asks nothing.
        """
        conditions = (Condition(versions, True),) if versions else ()
        return Deferred.fromCoroutine(self.one.change(changes, conditions, CALL))

    def shown(self, asked: Coroutine[Any, Any, ConfigView]) -> ConfigView:
        """Return what is shown at once."""
        return self.successResultOf(Deferred.fromCoroutine(asked))

    def test_a_change_is_acknowledged_by_those_that_act_upon_it(self) -> None:
        """Both do, and the one that was started without a part says so."""
        view = self.successResultOf(self.change({REBUILD: 5}))
        self.assertEqual((view.version, view.config[REBUILD]), (2, 5.0))
        self.assertEqual(view.changed, (REBUILD,))
        self.assertEqual((view.acknowledged, view.pending), (("n1", "n2"), ()))
        self.assertEqual([each.without for each in view.nodes], [(), ("breakers",)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_node_that_is_silent_has_not_acknowledged(self) -> None:
        """It is waited for, but not for long; later, whoever is asked tells more."""
        self.wire.silent.add(TWO)
        changing = self.change({REBUILD: 5})
        self.assertNoResult(changing)
        self.clock.advance(ASK_TIMEOUT_S)
        view = self.successResultOf(changing)
        self.assertEqual((view.acknowledged, view.pending), (("n1",), ("n2",)))
        self.assertIsNone(view.nodes[1].version)
        self.wire.silent.clear()
        self.assertEqual(self.shown(self.one.show(CALL)).pending, ())
        self.assertEqual(self.shown(self.two.show(CALL)).pending, ())

    def test_a_node_that_lags_is_given_some_time(self) -> None:
        """It answers once it acts upon it; or says what it acts upon instead."""
        self.coordinator.others.clear()
        changing = self.change({REBUILD: 5})
        self.assertNoResult(changing)
        self.other.apply(self.coordinator.state)
        self.assertEqual(self.successResultOf(changing).pending, ())
        changing = self.change({REBUILD: 6})
        self.clock.advance(ASK_TIMEOUT_S)
        view = self.successResultOf(changing)
        self.assertEqual((view.nodes[1].version, view.pending), (2, ("n2",)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_dead_node_is_not_waited_for(self) -> None:
        """It is told among those that have not acknowledged."""
        self.dead.add(TWO)
        view = self.successResultOf(self.change({REBUILD: 5}))
        self.assertEqual(view.pending, ("n2",))

    def test_what_is_wrong_is_refused_before_anybody_is_asked(self) -> None:
        """With all of it."""
        refused = self.failureResultOf(
            self.change({"x.y": 1, "replication.replicas": 0}), InvalidError
        )
        self.assertEqual(len(refused.value.faults), 2)
        self.assertEqual(self.coordinator.committed, 0)

    def test_nothing_new_is_nothing_to_commit(self) -> None:
        """The version stays, and so does everything."""
        view = self.successResultOf(self.change({REBUILD: 60}))
        self.assertEqual((view.version, self.coordinator.committed), (1, 0))

    def test_a_change_for_another_version_is_refused(self) -> None:
        """Whether it is known at once, or the coordinator finds out."""
        self.successResultOf(self.change({REBUILD: 5}, 1))
        self.failureResultOf(self.change({REBUILD: 6}, 1), PreconditionError)
        self.coordinator.before.append(configure(2, rebuild_after_s=7))
        self.failureResultOf(self.change({REBUILD: 8}, 2), PreconditionError)
        held = self.coordinator.state.configuration
        self.assertEqual(held.allocation.rebuild_after_s, 7.0)

    def test_a_version_of_another_node_is_waited_for(self) -> None:
        """One that was read there may not be known here yet."""
        state = self.coordinator.state
        changing = self.change({REBUILD: 8}, 2)
        self.assertNoResult(changing)
        self.coordinator.commit(execute(state, configure(1, rebalance=False)))
        self.assertEqual(self.successResultOf(changing).version, 3)
        changing = self.change({REBUILD: 9}, 99)
        self.clock.advance(ASK_TIMEOUT_S)
        self.failureResultOf(changing, PreconditionError)

    def test_without_a_condition_a_change_is_made_upon_anothers(self) -> None:
        """Both hold then."""
        self.coordinator.before.append(configure(1, rebalance=False))
        view = self.successResultOf(self.change({REBUILD: 8}))
        self.assertEqual(view.version, 3)
        self.assertEqual(view.config[REBUILD], 8.0)
        self.assertEqual(view.config["allocation.rebalance"], False)

    def test_a_change_is_known_to_be_done_though_others_came_after(self) -> None:
        """The states in between may never be seen here."""

        async def skip(command: Command, timeout_s: float) -> None:
            """Commit two changes, of which only the last is seen.

            Args:
                command: the first.
                timeout_s: ignored.
            """
            after = execute(self.coordinator.state, command)
            self.coordinator.commit(execute(after, configure(2, rebalance=False)))

        self.coordinator.submit = skip  # type: ignore[method-assign]
        view = self.successResultOf(self.change({REBUILD: 8}, 1))
        self.assertEqual((view.version, view.config[REBUILD]), (3, 8.0))

    def test_nobody_knows_where_nobody_knows(self) -> None:
        """The coordinator died of it, or it committed more than is remembered."""
        self.coordinator.failure = OutcomeUnknownError("it ended")
        self.failureResultOf(self.change({REBUILD: 8}), OutcomeUnknownError)
        self.coordinator.failure = None
        self.coordinator.before += [
            configure(1 + each, rebuild_after_s=float(each))
            for each in range(CHANGES_KEPT + 1)
        ]
        changing = self.change({REBUILD: 8})
        self.clock.advance(CALL.timeout_s)
        self.failureResultOf(changing, OutcomeUnknownError)

    def test_without_a_cluster_there_is_nothing_to_configure(self) -> None:
        """It is said so."""
        self.coordinator.apply(ClusterState())
        self.failureResultOf(self.change({REBUILD: 8}), UnavailableError)

    def test_whoever_uses_it_is_told_before_it_counts(self) -> None:
        """At once, then of each; less what the node was started without."""
        started = Policies(breakers=False)
        states = States(state_of({0: ONE}))
        registry = CollectorRegistry()
        live = LiveConfiguration(states, self.clock, started, registry)
        seen: list[tuple[int, Configuration]] = []
        live.subscribe(lambda now: seen.append((live.version, now)))
        changed = execute(
            states.state, Configure("c", 1, {"resilience.selection": False})
        )
        states.apply(changed)
        states.apply(replace(changed, routing_version=9))
        self.assertEqual([version for version, _ in seen], [1, 1])
        self.assertEqual(seen[-1][1].resilience, replace(started, selection=False))
        self.assertEqual(live.version, 2)
        shown = registry.get_sample_value("torua_node_configuration_version")
        self.assertEqual(shown, 2)
