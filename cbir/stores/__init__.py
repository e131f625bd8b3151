"""Stores by URL: one contract, and the engines that keep it."""
