"""The sequences of the provider API as data; `rdpprov.traces.sequences` says what the keys mean and reads them.

Written from the figures of the documentation and the decisions where it is silent, not from the code: the Remote
Connection Manager and these files have to agree because both are right.
"""
