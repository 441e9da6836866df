"""Where jobs run: the protocol of a job source, and a folder for each source."""
