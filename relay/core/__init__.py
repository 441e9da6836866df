"""The pure rules: no I/O, no clock, no randomness. Time, ids and dice are arguments."""
