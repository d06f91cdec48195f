"""The Kubernetes API as far as flowwatch needs it: who asks, the port-forward, policies in force."""
