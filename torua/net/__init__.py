"""CARRIES. Bytes between nodes: gossip datagrams over UDP, framed messages over TCP.

It knows addresses, connections, lanes and back-pressure.  It does not know what the
messages mean, and it decides nothing about members.

Threading: the reactor's thread only.
"""
