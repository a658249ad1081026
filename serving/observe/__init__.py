"""What the reader tells of itself: log lines and figures."""
