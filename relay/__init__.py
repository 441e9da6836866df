"""Relay: services register watches on AI jobs; each gets a signed webhook when its job ends.

The flow, in the order in which a job passes through it:

    web.api      takes a watch over HTTP                          POST /v1/watches
    register     finds or makes job and endpoint, inserts the watch         one transaction
    web.hooks    takes a hint that a job may have ended                     POST /hooks/vod
    poll         claims hinted and due jobs and a call of the budget        one transaction
                 asks net.listaijob about up to ten of them                 no transaction
                 core.verdict reads the answer
                 settles: the result and a delivery for every waiting       one transaction
                 watch, or when core.poll_policy asks again
    deliver      claims due deliveries of endpoints that may send           one transaction
                 net.courier has them POSTed, signed by core.signing        another process
                 settles: an attempt row each, and delivered, due later or failed
    tidy         expires watches at their deadline, prunes what is old

Stages never import each other: they meet in the database (store). What they decide is pure (core),
what they send goes through net, what they say through telemetry. wiring builds the parts from the
settings, loop runs them, cli is the command line. A claim is a lease; a settle is guarded by the
claim's token: a process that dies leaves rows that fall due again, and a late one can't overwrite
its successor.
"""

__version__ = "0.1.0"
