Feature: A cluster is operated while it is used
  As an operator
  I want to restart, grow, shrink and mend a cluster
  So that nobody who uses it has to know

  @slow
  Scenario: All nodes are restarted, one at a time, under load
    When "torua up" is run
    And clients with one retry read and write
    And "torua rolling-restart" is run
    Then every node has a new process, and the coordinator was the last
    And no client saw a failed request, and no write is lost

  @slow
  Scenario: Nodes come and go under load
    Given 3 nodes, with 12 shards of 2 copies
    And 2000 values of 4096 bytes
    And clients with one retry that use all nodes
    When 2 nodes join
    Then the copies are even within one, where 9 had to move
    When node-5 leaves and is stopped
    Then the copies are even within one, where as many had to move as it had
    When node-4 leaves and is stopped
    Then the copies are even within one, where as many had to move as it had
    And no more than a tenth more bytes moved than had to
    And no client saw a failed request, and no write is lost

  Scenario: A majority is lost for good, with its disks
    Given 3 nodes, with 2 copies of each shard
    And 200 keys
    When node-2 and node-3 are killed for good
    And node-1 is stopped, and "torua unsafe-bootstrap" tells what would be lost
    And "torua unsafe-bootstrap" is run with the loss accepted
    And node-1 is started, and 2 new nodes join it
    And shards that are red go on with what node-1 has
    And node-2 and node-3 are removed from the list
    Then the new cluster is whole, and has all that node-1 had in sync
    And every node is in one cluster with another id

  Scenario: A majority is lost for good, and two of five are left
    Given 5 nodes, with 2 copies of each shard
    And 200 keys
    When node-1, node-2 and node-3 are killed
    And node-5 is stopped, and "torua unsafe-bootstrap" is run with the loss accepted
    And node-4 is stopped, and detached to the new cluster
    And node-5 is started, and node-4 joins it
    And node-1 and node-2 come back with their old data
    Then node-1 and node-2 are refused, and stay apart
    And the new cluster has all that node-4 and node-5 had in sync

  Scenario: Two nodes with data and one that only votes
    Given 2 nodes with 2 copies of each shard, and one that only votes
    And 100 keys
    Then the one that only votes has no copies
    When each of the three is killed in turn, and comes back
    Then the others served all keys each time, within 10 seconds of the kill
    And the one that only votes has no copies
