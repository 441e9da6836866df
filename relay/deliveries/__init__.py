"""The stage that sends: claims due deliveries, has them sent, records what came of each attempt.

    dispatcher         runs the two threads, and lets them finish       the life of one process
    claimer            claims what there is capacity for                one thread, one connection
    result_writer      takes replies and records them in batches        another thread, connection
    in_flight          the attempts in flight, shared by both threads
    isolated_sender    sends poison messages, one at a time
    config             the settings of one dispatcher
    rules/             retry policy, capacity: pure
    sql/               claims, results, state moves, views

Rendering, signing and sending are done behind `sending.sender_client`, in a process of its own that
never touches SQL: a loop held up by a database would report answers that were there as time-outs.
Claims and results each wait for the database most of their time, so they wait on two threads.
"""

from relay.deliveries.config import DeliveryConfig
from relay.deliveries.dispatcher import Dispatcher

__all__ = ["DeliveryConfig", "Dispatcher"]
