"""The local provider and receiver, and `./dev run` and `./dev demo`, which run a whole relay with them."""
