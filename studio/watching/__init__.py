"""A folder that is watched: each file that is completely there is processed once."""
