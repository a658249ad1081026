"""Settings guessed from events: what their fields look like (profile), what they may mean (guess), a file (written)."""
