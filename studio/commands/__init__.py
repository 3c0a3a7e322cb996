"""The commands, one noun a module; `studio.cli` says which there are."""
