"""DVC stage scripts, one package a pipeline. Nothing imports this package."""
