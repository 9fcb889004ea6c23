"""Training: the encoder by global losses, the decoder by local ones, the whole by few labels.

Import from the modules: a stage then depends on what it uses, and on no more.
"""
