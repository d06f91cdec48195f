"""The command line: a file a verb, and what verbs share."""
