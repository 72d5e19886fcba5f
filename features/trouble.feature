Feature: Trouble is named, counted, and survived
  As an operator
  I want one clear line for what I did wrong
  And no harm by what others send

  Scenario Outline: A wrong option: <options>
    When a node is started with "<options>"
    Then it ends with an error, saying "<words>" in one line

    Examples:
      | options                       | words            |
      | --shards none                 | shards           |
      | --shards 0                    | shards           |
      | --http nowhere                | http             |
      | --preset fast                 | preset           |
      | --no-such-option 1            | no-such-option   |
      | --join here                   | join             |
      | --cluster-secret /nonexistent | cluster-secret   |
      | --config /nonexistent.toml    | nonexistent.toml |
      | --data-dir /proc/torua        | /proc/torua      |

  Scenario Outline: The <kind> port is taken
    Given a program that holds a <kind> port
    When a node is started on that <kind> port
    Then it ends with an error, naming the port, in one line

    Examples:
      | kind        |
      | HTTP        |
      | cluster TCP |
      | cluster UDP |

  Scenario: The data dir is in use
    Given 1 node
    When another node is started on its data dir
    Then it ends with an error, naming the data dir, in one line
    And the first node serves on

  Scenario Outline: A bit flips in <file> while the node is down
    Given 1 node
    And 50 keys
    When node-1 gets SIGTERM
    Then node-1 exits with 0 within 15 seconds
    When a bit of <file> flips
    And node-1 is started again
    Then it refuses to start, naming <file>, or says what is lost, or serves all keys

    Examples:
      | file       |
      | identity   |
      | votes      |
      | the log    |
      | a map      |

  Scenario: Garbage on the ports
    Given 3 nodes
    When garbage is sent to the cluster ports of node-1, by UDP and by TCP
    Then node-1 has counted what it dropped
    And the cluster is healthy, with 3 nodes and a coordinator
    And what is put through one node can be got through each other

  Scenario: A frame that claims 100 MB
    Given 3 nodes
    When a frame header of 100 MB is sent to the TCP port of node-1
    Then node-1 closes those connections, has counted them, and holds no such memory
    And what is put through one node can be got through each other

  Scenario: A node of a cluster with another name
    Given 3 nodes
    When a node of the cluster "others" is told to join them
    Then node-1 has counted what it dropped
    And the stranger is not ready, and is no member
    And the cluster is healthy, with 3 nodes and a coordinator

  Scenario: A node that does not know the cluster's secret
    Given 3 nodes that share a secret
    When a node without that secret is told to join them
    Then node-1 has counted what it dropped
    And the stranger is not ready, and is no member
    And the cluster is healthy, with 3 nodes and a coordinator
    And what is put through one node can be got through each other

  Scenario: A node of another cluster with the same name
    Given 3 nodes
    And another cluster of one node
    When that one node is started again to join the three
    Then both clusters keep their ids and their members, and a log says why
    And what is put through one node can be got through each other
