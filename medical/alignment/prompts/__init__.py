"""What findings are called in words: packaged prompt sets, and own ones."""

from medical.alignment.prompts.sets import Finding, Prompts, load_prompts, parse_prompts

__all__ = ["Finding", "Prompts", "load_prompts", "parse_prompts"]
