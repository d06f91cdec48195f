"""Which flows: a FlowFilter made from flags, and evaluated here as a server evaluates it."""
