"""Talking to a Hubble server: where it is, how to connect, the stream, and why it failed."""
