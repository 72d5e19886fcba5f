"""DECIDES how a shard is split while it is written: some of its slots move to another.

    COPYING --the child has nearly all--> CLOSING --it has all--> TRIMMING --> .
       ^  '-- cancelled, or the log was cut --> (no child)
       '------ time is up, or the child is not led ---'

The parent goes on; the child is a new shard without slots, whose primary copies from
the parent what it is to have.  While CLOSING nobody serves the slots that move; in one
commit they become the child's, and the parent then removes what it has of them.  All
phases are in the cluster state, so that each change of them is a compare and swap.

`commands` are those changes, `door` says what is refused meanwhile, `splitter` is the
child's primary, `trimmer` the parent's; `moving` tells what moves.  What it does not
do: place copies (`allocation`), or replicate (`replication`).  Why it is safe stands in
``docs/splitting.md``.
"""
