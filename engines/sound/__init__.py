"""Long recordings in general: parts, chunks, levels, progress, and tracks to listen to."""
