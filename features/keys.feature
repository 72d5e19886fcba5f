Feature: Keys and values through any node
  As a client
  I want to put and get through whichever node I reach
  So that I need to know nothing of shards

  Background:
    Given 3 nodes

  Scenario: A thousand keys spread over all shards, each always on the same
    When 1000 keys are put, through the nodes in turn
    Then every shard holds some of them
    And each key is on the same shard whichever node is asked
    And every acknowledged key is there, through every node
    And listing them gives all, in byte order

  Scenario: Keys may be any text
    When a key of each of these kinds is put through one node
      | kind                | key                    |
      | slash               | a/b                    |
      | slashes             | //a///b/               |
      | space               | a key with spaces      |
      | question mark       | what?x=1&y=2           |
      | percent             | 100%25 %2F %           |
      | dots                | ..                     |
      | dot                 | .                      |
      | path steps          | ../../etc/./passwd     |
      | plus and hash       | a+b#c                  |
      | Unicode             | æøå-日本語-🜂-נתונים     |
      | combining           | é (e and an accent)   |
      | control characters  | tab\tline\nnul\0end    |
      | routing tag         | {user:7}/cart          |
      | quotes              | "it's" \\ `so`         |
    And the longest key of 1024 bytes is put
    Then every acknowledged key is there, through every node
    And listing them gives all, in byte order
    But a key of 1025 bytes is refused as malformed

  Scenario: Values are kept byte for byte, from none to 16 MiB
    When values of these sizes are put, and got through another node
      | size     |
      | 0        |
      | 1        |
      | 65535    |
      | 65536    |
      | 65537    |
      | 1048576  |
      | 16777216 |
    Then every acknowledged key is there, through every node
    But a value of 16777217 bytes is refused as too large

  Scenario: A hundred clients at once
    When 100 clients put and get 20 keys each, at the same time
    Then none of them sees an error
    And every acknowledged key is there, through every node

  Scenario: Compare and set, and keys that expire
    When a key is put only if it does not exist, twice
    Then the first is done and the second refused
    When it is changed at its version, and then at the old version again
    Then the first is done and the second refused
    When a key is put that shall live 1 second
    Then it is there, and gone within 3 seconds

  Scenario: The same idempotency key does the same thing once
    When a put is sent twice with the same idempotency key
    Then both answers tell the same version
    And another value under that idempotency key is refused
