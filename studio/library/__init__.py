"""Everything ever made: finding, looking at, comparing, deleting; sessions as files."""
