"""The SQL of subscribers, their keys and secrets."""
