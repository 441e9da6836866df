"""The only outgoing traffic: ListAIJob through requests, callbacks through libcurl."""
