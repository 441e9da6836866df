"""The process that sends webhooks: bodies, signatures, libcurl, names, the SSRF filter."""
