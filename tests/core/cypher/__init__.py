"""The replication machines, by example, against a model, and broken on purpose."""
