"""How often Python looks for garbage in cycles, in the processes that deliver."""

import gc


def collect_garbage_seldom() -> None:
    """Let Python look far less often than it would, as deliveries make nearly no cycles.

    The looks were a fiftieth of all processor time (seen by `perf` in `./dev bench deliver`). To be
    called once what a process needs for good is loaded: that is left out of them.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
