"""Who is alive: SWIM with Lifeguard's local health, as a pure machine."""
