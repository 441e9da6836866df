"""Relay: services register watches on AI jobs; each gets a signed webhook when its job ends.

The flow, in the order in which a job passes through the rooms:

    api           takes a watch over HTTP                                  POST /v1/watches
    watches       finds or creates job and endpoint, inserts the watch     one transaction
    api           takes a provider event: a job may have ended             POST /hooks/vod
    polling       claims due jobs, and a call from the rate limiter        one transaction
    provider      asks the source about the claimed jobs                   no transaction
    polling       records the results: enqueues a delivery for every       one transaction
                  waiting watch, or decides when to ask again
    deliveries    claims due deliveries of endpoints that may send         one transaction
    sending       renders, signs and POSTs them                            another process
    deliveries    records the attempts: delivered, due later or failed     one transaction
    housekeeping  expires watches at their deadline, prunes old rows       a transaction a batch

Workers never call each other: they meet in the database (db). In every room `rules` decides
without I/O, and `sql` stores. jobs, endpoints and subscribers hold what the others work on.
telemetry words and counts events, settings reads the environment, bootstrap builds and runs the
processes, cli is the command line, sandbox holds the local stand-ins, common is shared by all.

A claim is a lease, and recording is guarded by the claim's token: the rows of a process that dies
fall due again, and a late process can't overwrite its successor.
"""

__version__ = "0.1.0"
