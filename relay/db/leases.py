"""Lost leases: the limits for a row whose processes died while they held its lease."""

POISON_AFTER = 2  # attempts lost in a row after which a row is worked on alone
GIVE_UP_AFTER = 5  # attempts lost in a row after which it fails
