"""Sequence traces: what was called on one connection, in which order, with what answer.

`format` is the file, `recorder` writes it, `sequences` are the figures as data, `checker` holds a trace against them,
`show` and `diagram` tell it to people. `against_provider`, `against_service` and `against_machine` play one side of it
again; `dialogue` is what they tell, `values` what they compare.
"""
