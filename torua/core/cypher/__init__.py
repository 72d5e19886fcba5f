"""Cypher: what a statement reads and writes, and how it is run over shards.

`planner.plan` goes from text to a `plan.Plan`:

    text ── tokens ── allowed? ── parser ── footprint ──┬── route, frontier: keys
                                                        ├── scatter: each shard alone
                                                        ├── fast: writes without reads
                                                        └── gather: all that it touches

Expressions are not parsed, but where they are a comparison with a constant
(`expressions`); nor are they ever evaluated here.  Everything is a function of the
text, the names of the parameters and the schema, and takes time in proportion to the
text.
"""
