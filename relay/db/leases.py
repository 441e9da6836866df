"""Leases that nobody answered for: what becomes of a row whose processes died while they held it."""

POISON_AFTER = 2  # attempts lost in a row after which a row is worked on alone
GIVE_UP_AFTER = 5  # attempts lost in a row after which it fails
