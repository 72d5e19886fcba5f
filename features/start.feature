Feature: A cluster comes up by itself
  As somebody who tries Torua
  I want nodes that find each other and share the work
  So that I can use any of them

  Scenario: Three nodes find each other and share four shards
    When 3 nodes are started
    Then the cluster is healthy, with 3 nodes and a coordinator
    And 4 shards are shared 1/1/2
    And what is put through one node can be got through each other
    And "torua status" tells of 3/3 healthy nodes and shards shared 1/1/2

  Scenario: One node alone is a cluster too
    When 1 node is started
    Then the cluster is healthy, with 1 node and a coordinator
    And 4 shards are shared 4
    And what is put through one node can be got through each other

  Scenario: A node that joins later is a member, and serves
    Given 3 nodes
    When node-4 is started to join them
    Then the cluster is healthy, with 4 nodes and a coordinator
    And what is put through one node can be got through each other

  Scenario: SIGTERM stops a node in good order, and it comes back without being told of the others
    Given 3 nodes
    And 20 keys
    When node-2 gets SIGTERM
    Then node-2 exits with 0 within 15 seconds
    When node-2 is started again without any seed
    Then the cluster is healthy, with 3 nodes and a coordinator
    And every acknowledged key is there, through every node

  Scenario: A node that says it is ready serves its shards
    Given 3 nodes
    And 50 keys
    When all nodes get SIGTERM
    And all nodes are started again without any seed, one after the other
    Then the moment each is ready, it serves the keys of its own shards

  Scenario: A wrong replica count is refused
    When a node is started with "--replicas 8"
    Then it ends with an error, saying "not a whole number from 1 to 7" in one line
