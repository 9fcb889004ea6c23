"""Text and code to token ids: an own vocabulary that knows identifiers, or that of a pretrained encoder."""

from code_search.tokenize.bpe import train_bpe
from code_search.tokenize.tokenizer import CodeTokenizer, Markers, Tokens, TypedTokens

__all__ = ["CodeTokenizer", "Markers", "Tokens", "TypedTokens", "train_bpe"]
