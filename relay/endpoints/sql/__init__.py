"""The SQL of endpoints."""
