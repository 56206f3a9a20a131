"""Callbacks for training frameworks: one file each, imported only when asked for, so that none of them is needed."""
