"""Judgements over an experiment: tokens, history, lock, s1 against s2, and what s2 training would load."""
