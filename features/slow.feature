Feature: Parts are slow or gone, and those who ask others do not feel it
  As a client
  I want my node to ask those who answer
  So that one slow machine is not everybody's

  Scenario Outline: When <copy> is slow, sessions read there no more until it is well
    Given 4 nodes behind a proxy, with 3 copies of each shard
    When a node reads at any copy of a shard that it has no copy of
    Then all three copies are read
    When what it hears of <copy> comes 200 ms later
    Then after a second it reads there seldom, and quickly all the same
    When the network is whole again
    Then within 10 seconds all three copies are read

    Examples:
      | copy        |
      | a replica   |
      | the primary |

  Scenario: A node that hangs costs few of those who read elsewhere anything
    Given 4 nodes behind a proxy, with 3 copies of each shard
    When a node reads at any copy of a shard that it has no copy of
    And one of those copies hangs for 8 seconds, which is not the primary
    Then few reads were slow, and none failed

  Scenario: A primary that is gone costs one opening of a breaker
    Given 3 nodes behind a proxy, with 1 copies of each shard
    When 20 clients ask one node for what another has, which is killed
    Then it was left alone once, and few requests were sent to it
    And who asks then is told so within 2 seconds
    When the harmed node comes back
    Then within 10 seconds it is asked again
