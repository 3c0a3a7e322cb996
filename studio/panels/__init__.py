"""Parts of the page that show what the studio holds: queue, result, files, history, models."""
