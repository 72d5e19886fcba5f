"""Who is alive: SWIM with Lifeguard's local health, as a pure machine.

`machine.Membership` is the machine; `messages` holds what goes in and out of it.
"""
