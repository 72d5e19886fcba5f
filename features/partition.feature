Feature: The network between nodes fails, and nobody loses anything
  As an operator
  I want cables, switches and firewalls to fail without harm to any client

  Nodes reach each other through a proxy that breaks what it carries.

  Scenario Outline: <fault>
    Given 3 nodes behind a proxy, with 2 copies of each shard
    And clients that remember what they saw
    When for 7 seconds <fault>
    Then no shard went without an answered write for longer than 5 seconds
    When the network is whole again
    Then all that the clients saw has one order, and all copies are equal

    Examples:
      | fault                                                            |
      | a node with primaries is cut off from all others                 |
      | a primary's connection to a replica is open but carries nothing  |
      | connections between all nodes break in the middle of frames      |

    @slow
    Examples: Less usual
      | fault                                                            |
      | the coordinator is cut off from all others                       |
      | nothing passes from a node with primaries to the others          |
      | nothing passes from the others to a node with primaries          |
      | all that a node with primaries says arrives 100 ms later         |
      | half of all datagrams are lost                                   |
