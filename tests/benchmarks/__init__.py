"""Measures flowwatch beside the real hubble, on this machine, in one run: ``make bench``.

Nothing here asserts a time: what is printed are figures and ratios, to be read by a person.
"""
