"""Scores become tables and pictures: CSV rows, ranking, contact sheet, figure. No torch in here."""
