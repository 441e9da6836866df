"""The local provider and receiver; `./dev run` and `./dev demo` run a whole relay with them."""
