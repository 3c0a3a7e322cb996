"""What keeps the documents true: tables out of the benches' figures, pictures of the studio."""
