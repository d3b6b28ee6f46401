"""The console: the built web page, served to browsers. Its source is `console/` at the top of the project.

It uses the public API only, with a browser's session in place of a token (`tailrace.api.sessions`).
"""
