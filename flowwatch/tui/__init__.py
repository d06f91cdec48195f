"""The dashboard. :func:`flowwatch.tui.app.run` is its door; nothing here is loaded before it opens."""
