"""Who coordinates, and what is committed: a replicated register, as a pure machine.

In the style of Elasticsearch's cluster coordination: one document, published whole or
as a difference, so that a lagging node needs no log.  `register` holds the rules that
make it safe, `machine` the timing that makes it go, `voters` who has a vote.
docs/coordination.md describes it whole.
"""
