"""Pure rules of ListAIJob: signing, and what its answers mean."""
