"""Code as data: source files to functions, repositories and corpora to pairs of documentation and code."""
