Feature: A graph over shards, whatever fails
  As a user
  I want the graph to be whole after any failure
  So that I need not know that it lives on several machines

  Scenario: A small network is loaded and is all there
    Given 3 nodes, with 2 copies of each shard
    When the sample network is loaded
    Then every node shows all tables as they are in the files
    And all copies are equal, and each graph is what its map says

  Scenario: A node is killed while files are imported
    Given 3 nodes, with 2 copies of each shard
    When the sample network is loaded, and a node is killed meanwhile
    And the harmed node comes back
    Then every node shows all tables as they are in the files
    And all copies are equal, and each graph is what its map says

  Scenario: A node is killed under Cypher writes
    Given 3 nodes, with 2 copies of each shard
    And clients that write nodes and relationships
    When a node with primaries is killed, though not the coordinator
    And the harmed node comes back
    Then all that the clients wrote is there
    And all copies are equal, and each graph is what its map says

  Scenario: Storage workers are killed under Cypher writes
    Given 3 nodes, with 2 copies of each shard
    And clients that write nodes and relationships
    When the storage worker of each node is killed in turn
    Then all that the clients wrote is there
    And all copies are equal, and each graph is what its map says

  Scenario: Query workers are killed under Cypher writes
    Given 3 nodes, with 2 copies of each shard
    And clients that write nodes and relationships
    When the query workers of each node are killed in turn
    Then all that the clients wrote is there
    And all copies are equal, and each graph is what its map says

  Scenario: Statements that no engine survives
    Given 3 nodes, with 2 copies of each shard
    And clients that write nodes and relationships
    When statements run that take all memory, all time, or crash the engine
    Then each was answered with an error within its limits
    And all that the clients wrote is there
    And all copies are equal, and each graph is what its map says

  Scenario: A graph that is larger than what a statement may gather
    Given 3 nodes with 4 shards, and these bounds in MiB
      | query-memory | query-budget | graph-memory |
      | 256          | 8            | 512          |
    And a graph of 24 MiB
    When it is asked for whole for 8 seconds, and for little beside that
    Then what is large is refused with its estimate, and what is little answered
    And no process grew beyond its bound, or had to be replaced

  @slow
  Scenario: A graph that is larger than what a query worker may have
    Given 3 nodes with 16 shards, and these bounds in MiB
      | query-memory | query-budget | graph-memory |
      | 256          | 8            | 2048         |
    And a graph of 520 MiB
    When it is asked for whole for 30 seconds, and for little beside that
    Then what is large is refused with its estimate, and what is little answered
    And no process grew beyond its bound, or had to be replaced

  Scenario: A fourth node joins under Cypher writes
    Given 3 nodes, with 2 copies of each shard
    And clients that write nodes and relationships
    When a fourth node is told to join them
    Then it holds its share within 60 seconds
    And all that the clients wrote is there
    And all copies are equal, and each graph is what its map says

  @slow
  Scenario: All of it fails, again and again
    Given 3 nodes, with 2 copies of each shard
    And clients that write nodes and relationships
    When nodes and workers are killed for 120 seconds
    Then all that the clients wrote is there
    And all copies are equal, and each graph is what its map says

  Scenario: Clients count in one place at the same time
    Given 3 nodes, with 2 copies of each shard
    When 6 clients count in one node, and make one another's nodes
    Then what was counted is what was answered, and nothing was made twice
    And all copies are equal, and each graph is what its map says
