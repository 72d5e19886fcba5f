"""Cypher: what a statement reads and writes, and how it is run over shards."""
