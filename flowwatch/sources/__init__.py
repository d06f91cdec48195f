"""Whatever yields batches of flows: a server, several merged, files."""
