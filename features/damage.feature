Feature: Disks fail, and nobody loses anything or reads a wrong byte
  As an operator
  I want a broken disk to cost a node, not data

  Scenario: The log of a node with primaries cannot be made durable
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When the log of a node with primaries fails with EIO
    Then that node exits with an error that names the log
    And no shard went without an answered write for longer than 5 seconds
    When its disk is mended and it comes back
    Then all that the clients saw has one order, and all copies are equal

  Scenario: The log of a node with primaries has no room
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When for 4 seconds the log of a node with primaries fails with ENOSPC
    And its disk is mended and it comes back
    Then each shard answers writes again within 15 seconds
    And all that the clients saw has one order, and all copies are equal

  Scenario: The disk of a node with primaries is full
    Given a small disk for node-1
    And 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When the small disk is full for 4 seconds
    And its disk is mended and it comes back
    Then each shard answers writes again within 15 seconds
    And all that the clients saw has one order, and all copies are equal

  Scenario Outline: While a node is down, <damage>
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When a node with primaries is killed, and others take over
    And on the harmed node <damage>
    And the harmed node comes back
    Then its copies are rebuilt within 60 seconds
    And all that the clients saw has one order, and all copies are equal

    Examples:
      | damage                               |
      | a bit flips in the middle of the log |
      | a bit flips in a map                 |

    @slow
    Examples: More
      | damage                               |
      | a map is deleted                     |
      | the log is cut in the middle         |
      | the log is deleted                   |
      | a map is cut in the middle           |

  @slow
  Scenario: A node comes back with an empty disk
    Given 3 nodes, with 2 copies of each shard
    And clients that remember what they saw
    When a node with primaries is killed, and others take over
    And the harmed node comes back with an empty disk
    Then its copies are rebuilt within 100 seconds
    And all that the clients saw has one order, and all copies are equal

  Scenario Outline: While the node of an only copy is down, <damage>
    Given 3 nodes, with 1 copies of each shard
    And 30 keys
    When a node with primaries is killed, though not the coordinator
    And on the harmed node <damage>
    And the harmed node comes back, or refuses to
    Then its shards are red or whole, health says why, and no read is wrong

    Examples:
      | damage                               |
      | a bit flips in the middle of the log |
