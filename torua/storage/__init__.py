"""KEEPS. What must survive: the few facts never to forget, the log, the views of it.

Everything that touches the disk goes through `torua.storage.files`, where tests put
their faults.  It does not know of nodes, networks or requests.

Threading: each class says which one thread may use it; none of them locks.
"""
