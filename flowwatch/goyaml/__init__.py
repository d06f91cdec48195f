"""YAML as Kubernetes reads it (Go's yaml): a tree that knows the line of everything in it."""
