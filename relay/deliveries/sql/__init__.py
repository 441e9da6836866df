"""The SQL of deliveries and their attempts."""
