Feature: The cluster goes on without its coordinator
  As an operator
  I want the others to elect another coordinator by themselves
  So that nobody has to get up at night

  Scenario: The coordinator is killed
    Given 3 nodes that keep one copy of each shard
    And 200 keys
    And clients that go on reading and writing keys of all shards
    When the coordinator is killed
    Then the others agree on another coordinator within 3 seconds
    And keys of the shards on live nodes were served all the time
    When the killed node is started again
    Then the cluster is healthy, with 3 nodes and a coordinator
    And every acknowledged key is there, through every node

  Scenario: Two of three nodes are stopped, and go on later
    Given 3 nodes
    And 50 keys
    When the two others than node-1 are stopped with SIGSTOP
    Then within 10 seconds node-1 has no coordinator
    And node-1 is not ready, and says why
    And node-1 answers for the keys of the others with an error, not with silence
    When they go on with SIGCONT
    Then within 10 seconds the cluster is healthy, with 3 nodes and a coordinator
    And every acknowledged key is there, through every node

  Scenario: All nodes are killed at once, under load, and started again
    Given 3 nodes
    And clients that go on writing new keys
    When all nodes are killed at once
    And all nodes are started again without any seed
    Then it is the same cluster as before
    And every acknowledged key is there, through every node
