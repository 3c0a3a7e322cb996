"""What `bench speech` is made of: sets of mixtures, measures, and the systems that are compared."""
