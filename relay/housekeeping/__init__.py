"""The worker that expires, prunes and notifies."""
