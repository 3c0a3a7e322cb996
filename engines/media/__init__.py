"""Reading and writing what people bring: camera RAW files, DNG, developed pictures."""
