"""Pure rules of deliveries: no I/O, no clock, no randomness."""
