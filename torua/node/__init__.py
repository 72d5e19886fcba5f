"""RUNS. The living parts of a node: what connects a decision to a deed or a moment.

Each part drives one machine of the core, or converges what this node holds to what the
cluster state says.  It does not decide, spell bytes, or speak HTTP.

Threading: the reactor's thread, but for what is handed to a named thread and comes back
as an input.
"""
