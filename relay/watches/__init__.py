"""Watches: registration, expiry, cancelling."""
