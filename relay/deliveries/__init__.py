"""The stage that sends: claim due deliveries, have them sent, settle what came of them.

    dispatcher   runs the two threads, and lets them finish                the life of one process
    claimer      claims what there is room for, and hands it over           one thread, one connection
    settler      takes replies and settles them in batches                  another thread and connection
    flights      what is in flight, which both of them must know
    rules        what the settings say

Rendering, signing and sending are done behind `net.courier`, in a process of its own that never
touches SQL: a loop held up by a database would report answers that were there as time-outs. Claims
and settles each wait for the database most of their time, so they wait on two threads side by side.
"""

from relay.deliveries.config import DeliveryConfig
from relay.deliveries.dispatcher import Dispatcher

__all__ = ["DeliveryConfig", "Dispatcher"]
