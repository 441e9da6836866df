"""The SQL of housekeeping."""
