"""Pure rules of sending: no I/O, no clock, no randomness."""
