"""The ``torua`` command: a local cluster, and a client of the HTTP API for people."""
