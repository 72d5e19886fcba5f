Feature: Nodes fail, and nobody loses anything
  As an operator
  I want a node to die, hang or restart without harm to any client
  So that I can fix it in the morning

  Clients share keys, and write to every shard all the time.  In the end all that they
  saw must have one order (linearizability), every acknowledged write must be there, and
  all copies must hold the same.

  Scenario: A node with primaries is killed
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When a node with primaries is killed, though not the coordinator
    Then no shard went without an answered write for longer than 3 seconds
    When the harmed node comes back
    Then all that the clients saw has one order, and all copies are equal

  Scenario: The coordinator is killed, which has primaries
    Given 3 nodes, with 3 copies of each shard
    And clients that remember what they saw
    When the coordinator is killed, which has primaries
    Then no shard went without an answered write for longer than 5 seconds
    When the harmed node comes back
    Then all that the clients saw has one order, and all copies are equal

  Scenario: A node with primaries hangs, with clients attached to it
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When a node with primaries hangs for 8 seconds, with clients attached
    Then no shard went without an answered write for longer than 5 seconds
    And all that the clients saw has one order, and all copies are equal

  @slow
  Scenario: A node with primaries hangs for a minute
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When a node with primaries hangs for 60 seconds, with clients attached
    Then no shard went without an answered write for longer than 5 seconds
    And all that the clients saw has one order, and all copies are equal

  Scenario: Each node is restarted in turn, under load
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When each node is stopped with SIGTERM and started again, in turn
    Then each exited with 0 within 15 seconds
    And no shard went without an answered write for longer than 1 second
    And all that the clients saw has one order, and all copies are equal

  Scenario: All nodes lose power at once
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When all nodes are killed under load and started again, 1 times
    Then all that the clients saw has one order, and all copies are equal

  @slow
  Scenario: All nodes lose power at once, again and again
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When all nodes are killed under load and started again, 20 times
    Then all that the clients saw has one order, and all copies are equal

  Scenario: Requests are repeated under one idempotency key through failovers
    Given 3 nodes, with 2 copies of each shard
    And clients that repeat each put under its idempotency key until it is answered
    When a node with primaries is killed, though not the coordinator
    And the harmed node comes back
    Then each put was applied once, and every repetition is answered the same

  Scenario: A fourth node joins under load
    Given 3 nodes, with 2 copies of each shard
    And 300 keys
    And clients that remember what they saw
    And a reader of all keys
    When a fourth node is told to join them
    Then it is listed within 5 seconds
    And it holds its share within 60 seconds
    And each key could be read all the time
    And all that the clients saw has one order, and all copies are equal
