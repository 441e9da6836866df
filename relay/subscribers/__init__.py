"""The services that may call the API: their keys, their signing secrets, encryption at rest."""
