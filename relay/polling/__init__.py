"""Asking the source of jobs: the poller, its rate limiter, and when to ask next."""
