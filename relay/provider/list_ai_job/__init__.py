"""Alibaba Cloud VOD, asked through ListAIJob."""
