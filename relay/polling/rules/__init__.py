"""Pure rules of polling: no I/O, no clock, no randomness."""
