"""Recipes: engines that follow one another, each with its settings, run on files as one thing."""
