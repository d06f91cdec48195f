"""What verbs share; a verb leans on no other verb."""
