"""The VQ encoder of a module in memory: find it, watch it, name the line that writes it, freeze it, guard it.

All but `compare` and `module_checkpoint` also runs in a checkout's own Python: syntax of Python 3.9, torch 2.0.
"""
