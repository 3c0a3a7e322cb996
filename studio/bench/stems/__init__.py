"""What `bench separation` is made of: mixtures, systems, rows."""
