"""What a record of Hubble's means: outcome, peer, attempt, coverage."""
