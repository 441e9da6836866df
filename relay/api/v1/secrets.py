"""Signing secrets, of the subscriber and of each endpoint: showing and rotating."""

from typing import Annotated

from flask import Response
from pydantic import Field

from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.idempotent import Answer, run_idempotent
from relay.api.models import RequestModel
from relay.api.responses import show, write_json
from relay.api.v1.resource import resource
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.endpoints.sql import endpoint_secrets


class RotateBody(RequestModel):
    """How long the old secret signs beside the new one."""

    overlap_seconds: Annotated[
        int, Field(ge=0, le=604_800, description="a whole number from 0 to 604800")
    ] = 86_400


routes = resource("secrets")


@routes.get("/secret")
@routes.get("/endpoints/<endpoint_id>/secret")
def get_secret(endpoint_id: str | None = None) -> Response:
    """Show the secret that signs for the subscriber, or for an endpoint."""
    secret = ctx.store.read(endpoint_secrets.current, subscriber_id(), endpoint_id, ctx.encryption)
    return show({"secret": secret})


@routes.post("/secret/rotate")
@routes.post("/endpoints/<endpoint_id>/secret/rotate")
def rotate_secret(endpoint_id: str | None = None) -> Response:
    """Make a new secret for the subscriber or an endpoint; the old one signs too for a while."""
    overlap = RotateBody.read_body(may_be_empty=True).overlap_seconds

    def rotate(tx: Tx, now: Micros) -> Answer:
        secret = endpoint_secrets.rotate(
            tx, subscriber_id(), endpoint_id, ctx.encryption, now, ctx.clock.new_id, overlap=overlap
        )
        return Answer(200, write_json({"secret": secret}), secret=True)

    return run_idempotent(rotate)
