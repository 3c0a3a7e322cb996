"""One tab for each kind of work: made from its engines, by hand only where that helps."""
