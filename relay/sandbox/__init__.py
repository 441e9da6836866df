"""Local stand-ins for the provider and for a subscriber's receiver: demo, tests, benchmarks."""
