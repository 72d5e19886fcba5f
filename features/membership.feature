Feature: The others know how a node fares
  As an operator
  I want to see soon that a node died, and that it is the same when it is back

  Scenario Outline: A killed node is suspect, then dead, then back, with the <preset> timings
    Given 3 nodes with the <preset> timings
    When a node other than the coordinator is killed
    Then on all others it is suspect within <suspect> seconds, then dead within <dead>
    When the killed node is started again
    Then it is the same node in a later life, healthy on all nodes within 10 seconds

    Examples:
      | preset | suspect | dead |
      | local  | 3       | 10   |
      | lan    | 5       | 20   |
