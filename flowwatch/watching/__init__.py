"""Watching: rules over the stream of attempts, their alerts, and who is told of them."""
