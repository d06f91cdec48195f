"""What verbs print: a file, or a folder, an output format."""
