"""Everything ever made: finding, looking at, comparing, deleting; sessions as files."""

FACES, IMPORTS = "thumbnails", "imports"  # folders in the cache
