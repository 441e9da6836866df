"""When a job that a provider event has named is asked about again, as it is still open."""

from relay.common.time import US_PER_SECOND, Micros

# An event may come before the source answers accordingly. After a poll that finds the job still
# open it is asked about again after these; then the event is used up. No job is asked about twice
# in two seconds all the same.
ASK_AGAIN = (1 * US_PER_SECOND, 2 * US_PER_SECOND, 4 * US_PER_SECOND)


def ask_again_at(now: Micros, polls: int, earliest: Micros) -> Micros | None:
    """When the job is asked about again; None once the event is used up.

    `polls` counts those that began after the event came; with none, the answer that has just come
    may be older than the event. `earliest` is the first moment at which the job may be asked about.
    """
    if polls > len(ASK_AGAIN):
        return None
    pause = ASK_AGAIN[polls - 1] if polls else 0
    return max(now + pause, earliest)
