"""SERVES. The HTTP API: paths, bodies, headers, status codes, problem details.

It parses and bounds what clients send, asks the parts named in `torua.http.seams`, and
spells what they answer.  It decides nothing, and knows no shard.  `torua.http.site`
puts it together; a handler turns a `torua.http.messages.Ask` into an ``Answer``, or
raises an error that `torua.http.problems` spells.

Threading: the reactor's thread only.
"""
