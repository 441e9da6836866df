"""The SQL of watches."""
