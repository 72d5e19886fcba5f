Feature: A whole cluster by one command
  As somebody who tries Torua
  I want "torua up"
  So that I see it run within a minute

  Scenario: Start, use, kill a node, stop, start again
    When "torua up" is run
    Then it says where each node is, and "torua status" finds 3/3 healthy nodes
    And "torua kv" puts bytes through one node and gets them through another
    And a second "torua up" in the same directory is refused in one line
    When one of its nodes is killed
    Then it says so and starts that node again
    When it gets Ctrl-C
    Then it ends with 0, and no node is left
    When "torua up" is run
    Then "torua kv" still gets the bytes
