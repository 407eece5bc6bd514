"""Sequence traces: what was called on one connection, in which order, with what answer.

`format` is the file, `recorder` writes it, `sequences` are the figures as data, `checker` holds a trace against them,
`show` and `diagram` tell it to people, `replay` plays it again.
"""
