"""Attempts and their counts by the minute, made of a history's records, and the questions asked of them.

Records stay the truth: what lies here can be made again of them, and is, whenever they change.
"""
