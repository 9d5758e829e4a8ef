"""Scores become tables, pages and figures."""
