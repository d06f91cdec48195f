"""One file a widget: what it shows, its style, and its lines of help."""
