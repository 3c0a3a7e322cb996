"""Sessions, jobs, artifacts, measurements, presets and models, in SQLite or PostgreSQL."""
