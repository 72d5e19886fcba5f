"""How a shard's writes are ordered and acknowledged, as pure machines.

`primary` is the machine, `messages` what goes in and out of it; `tip` is what it judges
by, the committed view with what is in flight above it; `batch` makes records and
outcomes of operations.
"""
