"""`/v1`: a module for each resource, with its bodies and queries, its routes, its answers.

`resource` holds what they share. Models of answers belong beside the models that a resource takes.
"""

from relay.api.v1 import deliveries, endpoints, jobs, secrets, watches

RESOURCES = (watches.routes, jobs.routes, endpoints.routes, secrets.routes, deliveries.routes)
