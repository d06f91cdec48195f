"""Marks: when policies changed, as verdicts show it, and what that did to the traffic."""
