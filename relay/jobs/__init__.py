"""The jobs that are polled, each once, however many watches wait for it."""
