"""Puts a VQ encoder back, and takes one out."""
