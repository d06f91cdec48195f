"""Archives that an auditor can replay: what was judged, by what, and what was found."""
