"""How often Python collects cycles, in the processes that deliver."""

import gc


def collect_garbage_seldom() -> None:
    """Collect cycles far less often than Python would, as deliveries make nearly none.

    The collections took a fiftieth of all processor time (seen by `perf` in `./dev bench deliver`).
    Call it once all modules are loaded: what exists then is left out of them.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
