"""Who coordinates, and what is committed: a replicated register, as a pure machine."""
