"""Endpoints: what they allow, how healthy they are, which addresses may be reached."""
