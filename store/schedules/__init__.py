"""Schedules: rows that send a message at its times, each run as a turn."""
