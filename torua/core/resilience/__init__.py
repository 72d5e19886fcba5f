"""DECIDES whom a node asks, and what it takes, while parts are slow or gone.

Each part is a machine of its own, without a clock and without dice: `budget` says when
something is tried again, `breaker` whom to leave alone, `selection` which copy to read
at, `admission` what to take and what to refuse, `stalls` when the reactor stands still,
`cache` what is kept of what was read.  `policies` says which of them are used.
"""
