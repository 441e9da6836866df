"""Pure rules of endpoints: no I/O, no clock, no randomness."""
