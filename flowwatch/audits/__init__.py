"""Traffic judged by policies: what was observed, what was found, what is likely meant."""
