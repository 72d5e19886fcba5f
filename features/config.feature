Feature: The configuration is changed while the cluster runs
  As an operator
  I want a change to be made everywhere or nowhere, and to see who acts upon it

  Scenario: A node is paused while the configuration changes
    Given 3 nodes
    When a node other than the coordinator is stopped with SIGSTOP
    And "allocation.rebuild_after_s" is set to 120 through another node
    Then the answer within 5 seconds says that all but the stopped one acknowledged
    And every node that runs says so later
    When the stopped one goes on
    Then within 10 seconds every node says that all acknowledged

  Scenario: The coordinator is killed while the configuration changes
    Given 3 nodes
    And a client that goes on changing the configuration
    When the coordinator is killed and started again, 3 times
    Then what was acknowledged was committed, and what was refused was not
    And within 20 seconds every node says that all acknowledged

  Scenario: The number of copies is changed under load
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When each shard is to have 3 copies, then 1, then 2
    Then no shard went without an answered write for longer than 2 seconds
    And all that the clients saw has one order, and all copies are equal

  Scenario: A change with mistakes in it
    Given 1 node
    When "torua config set" is told "replication.replicas=9" and "no.such=1"
    Then it names both in one line, and nothing has changed
