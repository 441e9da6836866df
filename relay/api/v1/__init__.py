"""`/v1`: a module for each resource, with its bodies and queries, its routes and its answers, in this order.

`fields` holds the members that several resources take, `resource` what their routes share. Models
of answers belong beside the models that a resource takes.
"""

from relay.api.v1 import bulk_retries, deliveries, endpoints, jobs, secrets, watches

RESOURCES = (
    watches.routes,
    jobs.routes,
    endpoints.routes,
    secrets.routes,
    deliveries.routes,
    bulk_retries.routes,
)
