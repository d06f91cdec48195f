"""The contract in Python: the generated messages, and Hubble's JSON as it is printed and read."""
