"""Super-resolution: pictures made larger, or restored at their size."""
