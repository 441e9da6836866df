"""Pure rules of subscribers: no I/O, no clock, no randomness."""
