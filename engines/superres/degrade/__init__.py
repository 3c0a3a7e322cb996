"""How a picture becomes small and bad: what super-resolution is trained and judged against."""
