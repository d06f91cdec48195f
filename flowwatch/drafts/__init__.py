"""Drafts: the least policy that lets needed traffic through, with the evidence for each of its rules."""
