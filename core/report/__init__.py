"""The HTML report over all pipelines."""
