"""Numeric hot spots as pure tensor functions; nothing is computed at import."""
