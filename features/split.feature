Feature: Shards are split while they are written
  As an operator
  I want a shard that has grown to become two
  So that more nodes can share its load

  Scenario: A shard is split under load
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When shard 0 is split
    Then the split is done within 60 seconds
    And no shard went without an answered write for longer than 2 seconds
    And all that the clients saw has one order, and all copies are equal

  Scenario: The primaries of both shards are killed in the middle
    Given 3 nodes, with 2 copies of each shard
    And 20000 more keys in shard 0
    And clients that remember what they saw
    When shard 0 is split
    And the primary of the new shard is killed and started again
    And the primary of the old shard is killed and started again
    Then the split is done within 90 seconds
    And all that the clients saw has one order, and all copies are equal
    And the more keys are all there, each listed once

  @slow
  Scenario: A shard of 200,000 keys is split under load
    Given 3 nodes, with 2 copies of each shard
    And 200000 more keys in shard 0
    And clients that remember what they saw
    When shard 0 is split
    Then the split is done within 300 seconds
    And no shard went without an answered write for longer than 2 seconds
    And all that the clients saw has one order, and all copies are equal
    And the more keys are all there, each listed once
