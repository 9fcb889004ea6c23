"""The encoder of code and queries: building it, keeping it in a folder, asking it for vectors."""

from code_search.model.build import build_encoder, build_tokenizer
from code_search.model.encoder import CodeEncoder
from code_search.model.fields import FieldedText
from code_search.model.folder import load_encoder, save_encoder

__all__ = ["CodeEncoder", "FieldedText", "build_encoder", "build_tokenizer", "load_encoder", "save_encoder"]
