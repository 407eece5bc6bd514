"""The web listener: a page with a viewer for browsers, and the WebSocket that carries its bytes to a provider.

Off unless it is configured. It needs the extra ``web`` (hypercorn and starlette); `rdpprov.web.configuration` does not.
"""
