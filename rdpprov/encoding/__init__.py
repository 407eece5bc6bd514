"""Which codec for which part of a picture: between a desktop's pixels and a provider's updates.

Shared by all providers; no trio and no wire formats. A pool of workers is handed in.
"""
