"""The model: front end, tokenizer, CLAP towers with the temporal head, and its folder."""
